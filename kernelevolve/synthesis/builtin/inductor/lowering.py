"""TorchInductor's own code for a reference: its wrapper in Python with the C++ in it, and when that code holds.

The reference is exported with free dimensions symbolic and lowered in-process; the compiler is stopped as it hands its output over, so
none of its C++ is built. Vectorisation is left to the C++ compiler: without vectors of its own TorchInductor prints plain loops, which need
no header of torch.
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
from kernelevolve.synthesis.traced.signature import Arguments, Returned, is_value
from kernelevolve.synthesis.traced.trace import Exported, export_program

_SETTINGS = {
    # The number of threads is that of the machine where the kernel runs; the code is planned for this many on any machine.
    "cpp.dynamic_threads": True,
    "cpp.threads": 8,
    "cpp.simdlen": None,
    "cpp.vec_isa_ok": False,
    "cpp.enable_kernel_profile": False,
    # The reference's own random numbers.
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
    """Where an argument of a graph comes from."""

    INPUT = "input"
    """A tensor that `forward` is given."""
    FIXED = "fixed"
    """Something else that `forward` is given, of one value."""
    STATE = "state"
    """A parameter or a buffer of the module."""
    CONSTANT = "constant"
    """A tensor that the reference's code holds."""


@dataclass(frozen=True)
class Argument:
    """One argument of a lowered graph."""

    name: str
    kind: Kind
    source: str = ""
    """An expression: of `self` where the module holds it, of a constant; the condition that a fixed value is as it was."""


@dataclass(frozen=True)
class Lowered:
    """A graph as TorchInductor wrote it."""

    code: str
    """The wrapper: Python with the C++ as string literals."""
    arguments: tuple[Argument, ...]
    """In the order of the graph's inputs."""
    bindings: tuple[tuple[str, str], ...]
    """Sizes by name, as expressions of the inputs' shapes."""
    conditions: tuple[str, ...]
    """The code is right for inputs on which all of these hold: expressions of inputs and sizes, each safe once those before it hold."""
    mutated: tuple[str, ...]
    """Buffers that the first results are to be copied into."""
    given: Arguments
    """What forward takes; arguments of the graph that are its inputs are called as its leaves are."""
    returned: Returned
    """What forward returns, out of the other results."""


class _Captured(BaseException):
    """Stops the compiler; no Exception, so that nothing on the way takes it for a failure."""

    def __init__(self, code: str) -> None:
        super().__init__()
        self.code = code


def lower(model: torch.nn.Module, inputs: Sequence[Any]) -> Lowered:
    """The code for `model.forward(*inputs)`, for all sizes that the model and TorchInductor leave free: those of 1 among them where torch
    can reason without asking whether a size is 1.

    Raises UnsupportedError where torch.export or TorchInductor refuses, and where this torch has another TorchInductor than the known one.
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
    """The parts of TorchInductor that are used here, all of them private to torch."""

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
            raise UnsupportedError(f"torch {torch.__version__} has another TorchInductor: {_line(error)}") from error
        self._hook: Callable[[str], None] | None = hook
        self._settings = settings
        self._compile = compile_fx_inner
        self._table = select_decomp_table
        self._graph_lowering = GraphLowering
        self._tracing, self._context, self._virtual = tracing, TracingContext, V

    def decompositions(self) -> dict[Any, Callable[..., Any]]:
        with self._settings:
            return dict(self._table())

    def run(self, graph: torch.fx.GraphModule) -> str:
        """The wrapper's text for a functional graph."""
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
        raise UnsupportedError(f"torch {torch.__version__} has another TorchInductor: it hands no code over")

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
    """The buffers that the first results belong to."""
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
    """The graph's inputs; they are renamed in the graph, so that its code shows where they come from.

    Raises UnsupportedError for one that is no tensor of the module, its code or its inputs, and no plain value.
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
        raise UnsupportedError("inputs that torch.export takes apart")
    return tuple(found)


def conditions(
    exported: ExportedProgram, arguments: Sequence[Argument]
) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
    """The sizes that the inputs' shapes give, and everything that was assumed about shapes on the way.

    Raises UnsupportedError for an assumption on a size that the shapes do not give.
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
            # What holds nothing is no work for a kernel.
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
    # Kinds first: a shape is only looked at once the number of dimensions is right.
    return tuple(bindings.items()), tuple(dict.fromkeys([*kinds, *shapes, *guards]))
