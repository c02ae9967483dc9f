"""TorchInductor's code for a reference: a Python wrapper with C++ in it, and the conditions under which it is valid.

The reference is exported with symbolic dimensions and lowered in-process. The compiler is stopped when it passes on its
output, so that none of its C++ is built. Vectorisation is left to the C++ compiler: without its own vectors
TorchInductor writes plain loops, which need no header of torch.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Any

import sympy
import torch
import torch.fx.experimental._config
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind

from kernelevolve.synthesis.traced.attributes import attribute_text, constant_text, find_tensor
from kernelevolve.synthesis.traced.builder import UnsupportedError
from kernelevolve.synthesis.traced.exporting import Exported, export_program
from kernelevolve.synthesis.traced.signature import Arguments, Returned, is_value

_SETTINGS = {
    # The number of threads is set where the kernel runs. A fixed plan makes the code the same on every machine.
    "cpp.dynamic_threads": True,
    "cpp.threads": 8,
    "cpp.simdlen": None,
    "cpp.vec_isa_ok": False,
    "cpp.enable_kernel_profile": False,
    # Use the random numbers of eager PyTorch.
    "fallback_random": True,
    "size_asserts": True,
    "alignment_asserts": False,
    "nan_asserts": False,
    "memory_planning": False,
    "graph_partition": False,
    "freezing": False,
    "max_autotune": False,
    "max_autotune_gemm": False,
    "fx_graph_cache": False,
    "compile_threads": 1,
}


class Kind(Enum):
    """The source of an argument of a graph."""

    INPUT = "input"
    """A tensor among the arguments of `forward`."""
    FIXED = "fixed"
    """An argument of `forward` that is not a tensor and has a fixed value."""
    STATE = "state"
    """A parameter or a buffer of the module."""
    CONSTANT = "constant"
    """A constant tensor in the code of the reference."""


@dataclass(frozen=True)
class Argument:
    """An argument of a lowered graph."""

    name: str
    kind: Kind
    source: str = ""
    """A Python expression: of the tensor for STATE and CONSTANT, of the condition on the value for FIXED."""


@dataclass(frozen=True)
class Lowered:
    """The code of TorchInductor for a graph."""

    code: str
    """The wrapper in Python, with the C++ in string literals."""
    arguments: tuple[Argument, ...]
    """The arguments of the graph, in order."""
    bindings: tuple[tuple[str, str], ...]
    """The names of sizes and their expressions of the shapes of inputs."""
    conditions: tuple[str, ...]
    """The conditions on inputs and sizes under which the code is valid. Each can be evaluated if all before it hold."""
    mutated: tuple[str, ...]
    """The buffers of the module that the first results are copied into."""
    given: Arguments
    """The arguments of `forward`. Their leaves have the names of the INPUT and FIXED arguments of the graph."""
    returned: Returned
    """The result of `forward`, built from the other results."""


class _Captured(BaseException):
    """Stops the compiler. It is not an Exception, so that no handler on the way catches it."""

    def __init__(self, code: str) -> None:
        super().__init__()
        self.code = code


def lower(model: torch.nn.Module, inputs: Sequence[Any]) -> Lowered:
    """Lower `model.forward(*inputs)` with as many dynamic sizes as the model and TorchInductor allow.

    If possible sizes of 1 are covered too, without a separate graph.

    Raises:
        UnsupportedError: torch.export or TorchInductor fails, or this version of TorchInductor is not supported.
    """
    compiler = _Compiler()
    try:
        with torch.fx.experimental._config.patch(backed_size_oblivious=True):
            return _lowered(model, inputs, compiler)
    except (UnsupportedError, AttributeError):
        return _lowered(model, inputs, compiler)


def _lowered(model: torch.nn.Module, inputs: Sequence[Any], compiler: _Compiler) -> Lowered:
    taken = export_program(model, inputs, table=compiler.decompositions())
    mutated = _mutated(taken.program)
    arguments = named_arguments(taken)
    code = compiler.run(taken.program.graph_module)
    bindings, assumed = conditions(taken.program, arguments)
    return Lowered(code, arguments, bindings, assumed, mutated, taken.arguments, taken.returned)


class _Compiler:
    """Access to the private parts of TorchInductor that are used here."""

    def __init__(self) -> None:
        try:
            from torch._guards import TracingContext, tracing
            from torch._inductor import config
            from torch._inductor.compile_fx import compile_fx_inner
            from torch._inductor.decomposition import select_decomp_table
            from torch._inductor.graph import GraphLowering
            from torch._inductor.virtualized import V

            settings: Any = config.patch(_SETTINGS)
            with settings:
                pass
            hook = GraphLowering.save_output_code
        except (ImportError, AttributeError, KeyError) as error:
            raise UnsupportedError(
                f"torch {torch.__version__} has an unsupported TorchInductor: {_line(error)}"
            ) from error
        self._hook: Callable[[str], None] | None = hook
        self._settings = settings
        self._compile = compile_fx_inner
        self._table = select_decomp_table
        self._graph_lowering = GraphLowering
        self._tracing, self._context, self._virtual = tracing, TracingContext, V

    def decompositions(self) -> dict[Any, Callable[..., Any]]:
        """Return the decompositions of TorchInductor."""
        with self._settings:
            return dict(self._table())

    def run(self, graph: torch.fx.GraphModule) -> str:
        """Return the wrapper for a functional graph."""
        values = [n.meta.get("val") for n in graph.graph.nodes if n.op == "placeholder"]
        mode = next((v.fake_mode for v in values if isinstance(v, torch.Tensor)), None)
        if mode is None:
            raise UnsupportedError("a reference without tensors")
        try:
            with (
                warnings.catch_warnings(),
                torch.no_grad(),
                self._settings,
                self._capturing(),
                self._tracing(self._context(mode)),
                self._virtual.set_fake_mode(mode),
            ):
                warnings.simplefilter("ignore")
                self._compile(graph, values, is_inference=True)
        except _Captured as captured:
            return captured.code
        except Exception as error:
            raise UnsupportedError(f"TorchInductor: {_line(error)}") from error
        raise UnsupportedError(f"torch {torch.__version__} has an unsupported TorchInductor: it hands no code over")

    @contextmanager
    def _capturing(self) -> Iterator[None]:
        def capture(code: str) -> None:
            raise _Captured(code)

        self._graph_lowering.save_output_code = capture
        try:
            yield
        finally:
            self._graph_lowering.save_output_code = self._hook


def _line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def _mutated(exported: ExportedProgram) -> tuple[str, ...]:
    """Return the buffers that the first results are copied into."""
    mutated: list[str] = []
    for spec in exported.graph_signature.output_specs:
        if spec.kind is OutputKind.BUFFER_MUTATION and spec.target is not None:
            mutated.append(spec.target)
        elif spec.kind is OutputKind.USER_INPUT_MUTATION:
            raise UnsupportedError("a reference that changes its inputs")
        elif spec.kind is not OutputKind.USER_OUTPUT:
            raise UnsupportedError(f"a result of kind {spec.kind.name.lower()}")
    return tuple(mutated)


def named_arguments(taken: Exported) -> tuple[Argument, ...]:
    """Rename the arguments of an exported graph by their source, and return them.

    Raises:
        UnsupportedError: An argument is neither a tensor nor a plain value.
    """
    exported, inputs = taken.program, taken.inputs
    specs = {spec.arg.name: spec for spec in exported.graph_signature.input_specs}
    found: list[Argument] = []
    position = 0
    for node in exported.graph_module.graph.nodes:
        if node.op != "placeholder":
            continue
        spec = specs[node.name]
        tensor = isinstance(node.meta.get("val"), torch.Tensor)
        readable = "".join(c if c.isalnum() and c.isascii() else "_" for c in spec.target or "")
        source = ""
        if spec.kind is InputKind.USER_INPUT:
            name = f"x{position}"
            kind = Kind.INPUT if tensor else Kind.FIXED
            source = "" if tensor else is_value(name, inputs[position])
            position += 1
        elif spec.kind in (InputKind.PARAMETER, InputKind.BUFFER) and tensor:
            name, kind, source = f"w{len(found)}_{readable}", Kind.STATE, attribute_text(str(spec.target))
        elif spec.kind is InputKind.CONSTANT_TENSOR and tensor:
            name, place = f"c{len(found)}_{readable}", find_tensor(taken.model, exported.constants[spec.target])
            kind = Kind.CONSTANT if place is None else Kind.STATE
            source = place or constant_text(exported.constants[spec.target])
        else:
            raise UnsupportedError(f"what the module holds under {spec.target} ({spec.kind.name.lower()})")
        node._rename(name)
        node.target = node.name
        found.append(Argument(node.name, kind, source))
    if position != len(inputs):
        raise UnsupportedError("inputs that torch.export splits")
    return tuple(found)


def conditions(
    exported: ExportedProgram, arguments: Sequence[Argument]
) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
    """Return the bindings of sizes and the conditions of a lowered graph, see `Lowered`.

    Raises:
        UnsupportedError: A condition is on a size that is not a dimension of an input.
    """
    from torch.utils._sympy.printers import PythonPrinter

    printer = PythonPrinter()
    nodes = [n for n in exported.graph_module.graph.nodes if n.op == "placeholder"]
    bindings: dict[str, str] = {}
    kinds: list[str] = []
    shapes: list[str] = []
    environment = None
    for argument, node in zip(arguments, nodes, strict=True):
        if argument.kind is Kind.FIXED:
            kinds.append(argument.source)
        if argument.kind is not Kind.INPUT:
            continue
        value = node.meta["val"]
        environment = value.fake_mode.shape_env or environment
        kinds += [f"{argument.name}.dim() == {value.dim()}", f"{argument.name}.dtype == {value.dtype}"]
        extents = [d.node.expr if isinstance(d, torch.SymInt) else sympy.Integer(d) for d in value.shape]
        for d, extent in enumerate(extents):
            if isinstance(extent, sympy.Symbol):
                bindings.setdefault(str(extent), f"{argument.name}.shape[{d}]")
        shapes += [
            f"{argument.name}.shape[{d}] == {printer.doprint(extent)}"
            for d, extent in enumerate(extents)
            if bindings.get(str(extent)) != f"{argument.name}.shape[{d}]"
        ]
    guards: list[str] = []
    if environment is not None:
        for symbol in bindings:
            bounds = next(r for s, r in environment.var_to_range.items() if str(s) == symbol)
            # Kernels do not serve empty tensors.
            lower = max(1, int(bounds.lower)) if isinstance(bounds.lower, sympy.Integer) else 1
            guards.append(f"{symbol} >= {lower}")
            guards += [f"{symbol} <= {bounds.upper}"] if isinstance(bounds.upper, sympy.Integer) else []
        for guard in environment.guards:
            expression = environment.simplify(guard.expr)
            if expression is sympy.true:
                continue
            unbound = {str(s) for s in expression.free_symbols} - set(bindings)
            if unbound:
                raise UnsupportedError("a condition on a size that the inputs' shapes do not give")
            guards.append(printer.doprint(expression))
    # Ranks come first, since conditions on shapes can be evaluated only if they are right.
    return tuple(bindings.items()), tuple(dict.fromkeys([*kinds, *shapes, *guards]))
