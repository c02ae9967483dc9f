"""What `torch.export` says about the sizes of a model's inputs: which are fixed, which are one size, within which range."""

from __future__ import annotations

import inspect
import logging
import signal
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import sympy
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.export import Dim, ExportedProgram, export
from torch.export.graph_signature import InputKind
from torch.utils import _pytree as pytree

from evaluators.correctness.inputs.assumed import Assumed, assumed_of
from evaluators.correctness.inputs.recurrent import Unstepped

_NOT_SIZES = {
    *("dim", "dims", "dim0", "dim1", "start_dim", "end_dim", "dtype", "layout", "device", "keepdim", "correction"),
    *("unbiased", "stride", "padding", "dilation", "groups", "output_padding", "step", "normalized_shape", "reduction"),
    *("momentum", "eps", "alpha", "beta", "negative_slope", "p", "dropout_p"),
}
"""Arguments of ATen operations whose numbers are no sizes, or whose sizes export checks against those of the inputs."""

_CLOCK_FACTOR = 4.0
"""Times the processor's time that may pass by the clock: where others use the cores, it does."""
_UNTRIED = 4
"""Lower limits up to this one may be export's own caution."""


@dataclass(frozen=True)
class Symbolic:
    """A size that is `scale` * symbol + `shift`."""

    scale: int
    symbol: str
    shift: int


@dataclass(frozen=True)
class Evidence:
    """What export has found; nothing, and why, where it failed."""

    sizes: Mapping[tuple[int, int], int | Symbolic | None] = field(default_factory=dict)
    """(input, dimension) -> its size; None where the expression is not understood."""
    ranges: Mapping[str, tuple[int, int | None]] = field(default_factory=dict)
    """Smallest and largest value of a symbol; None: no limit."""
    numbers: frozenset[int] = frozenset()
    """Whole numbers that the code of forward names."""
    operations: int = 0
    """In the exported graph."""
    assumed: Assumed | None = None
    failure: str = ""
    """One line; empty where export worked."""
    overtime: bool = False
    """Whether it failed because time ran out."""

    def proves(self, shapes: Mapping[int, Sequence[int]]) -> bool:
        """Whether the model surely takes inputs of these shapes, by the number of the input: all that export assumed holds for them.

        Where it does not, the model may take them all the same, on another way through its code.
        """
        values: dict[str, int] = {}
        for (i, d), size in self.sizes.items():
            if isinstance(size, Symbolic):
                n, rest = divmod(shapes[i][d] - size.shift, size.scale)
                if rest or values.setdefault(size.symbol, n) != n:
                    return False
            elif size != shapes[i][d]:
                return False
        return self.assumed is not None and self.assumed.holds(values)


class _Overtime(BaseException):
    """Not an Exception, so that no handler within torch keeps it."""


def export_evidence(model: nn.Module, inputs: Sequence[Any], seconds: float) -> Evidence:
    """Export with every dimension automatic. Takes at most about `seconds` of the processor's time in the main thread of a process; in
    others it has no limit."""
    import torch._dynamo  # By torch.export anyway; a limit that ends an import leaves half a module behind.
    import torch._functorch.aot_autograd

    free: tuple[Any, ...] = tuple(
        dict.fromkeys(range(x.dim()), Dim.AUTO) if isinstance(x, torch.Tensor) else None for x in inputs
    )
    kinds = [p.kind for p in inspect.signature(model.forward).parameters.values()]
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        named = kinds.index(inspect.Parameter.VAR_POSITIONAL)
        free = (*free[:named], free[named:])
    try:
        with _quiet(), torch.no_grad(), _limited(seconds), Unstepped():
            evidence = _read(export(model, tuple(inputs), dynamic_shapes=free), model, inputs)
    except _Overtime:
        return Evidence(failure=f"it takes longer than {seconds:g} s", overtime=True)
    except Exception as error:  # noqa: BLE001 - a border to foreign code: export raises what the model raises
        text = str(error).strip()
        return Evidence(failure=text.splitlines()[0][:200] if text else type(error).__name__)
    return evidence


@contextmanager
def _quiet() -> Iterator[None]:
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Raise _Overtime in the block after so many seconds of the processor's time, or after some times as many by the clock."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with (
        _ringing(signal.ITIMER_PROF, signal.SIGPROF, seconds),
        _ringing(signal.ITIMER_REAL, signal.SIGALRM, _CLOCK_FACTOR * seconds),
    ):
        yield


@contextmanager
def _ringing(timer: int, number: int, seconds: float) -> Iterator[None]:
    """Raise _Overtime in the block when this timer has run for so long; an alarm that was set before goes on afterwards."""

    def ring(_number: int, _frame: FrameType | None) -> None:
        raise _Overtime

    handler = signal.signal(number, ring)
    left, interval = signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        unused, _ = signal.setitimer(timer, 0)
        signal.signal(number, handler)
        if left:
            signal.setitimer(timer, max(left - (seconds - unused), 1e-3), interval)


def _read(exported: ExportedProgram, model: nn.Module, inputs: Sequence[Any]) -> Evidence:
    specs = {spec.arg.name: spec for spec in exported.graph_signature.input_specs}
    nodes = [n for n in exported.graph.nodes if n.op == "placeholder"]
    given = [n for n in nodes if specs[n.name].kind is InputKind.USER_INPUT]
    if len(given) != len(inputs):
        return Evidence(failure=f"it takes {len(given)} inputs, not {len(inputs)}")
    sizes: dict[tuple[int, int], int | Symbolic | None] = {}
    for i, (node, value) in enumerate(zip(given, inputs, strict=True)):
        if isinstance(value, torch.Tensor):
            sizes.update({(i, d): _affine(size) for d, size in enumerate(node.meta["val"].shape)})
    ranges = {str(symbol): _interval(values) for symbol, values in exported.range_constraints.items()}
    for symbol, (limit, high) in ranges.items():
        low = limit
        # Export takes it that no size is 1, where sizes broadcast and are squeezed away; nor one that follows from this one.
        while 1 < low <= _UNTRIED and _keeps_its_shape(exported, model, inputs, sizes, symbol, low - 1):
            low -= 1
        ranges[symbol] = low, high
    return Evidence(
        sizes=sizes,
        ranges=ranges,
        numbers=frozenset(_numbers(exported)),
        operations=sum(node.op == "call_function" for node in exported.graph.nodes),
        assumed=assumed_of(exported),
    )


def _keeps_its_shape(
    exported: ExportedProgram,
    model: nn.Module,
    inputs: Sequence[Any],
    sizes: Mapping[tuple[int, int], int | Symbolic | None],
    symbol: str,
    n: int,
) -> bool:
    """Whether the model takes n for this symbol, and its outputs have the shapes that export says, none of them empty."""
    shapes = {i: list(x.shape) for i, x in enumerate(inputs) if isinstance(x, torch.Tensor)}
    values: dict[str, int] = {}
    for (i, d), size in sizes.items():
        if isinstance(size, Symbolic):
            values[size.symbol] = n if size.symbol == symbol else (shapes[i][d] - size.shift) // size.scale
            shapes[i][d] = size.scale * values[size.symbol] + size.shift
        elif size is None:
            return False
    output = next(node for node in exported.graph.nodes if node.op == "output")
    try:
        nodes = [node for node in pytree.tree_leaves(output.args) if _is_tensor_node(node)]
        expected = [_valued(node.meta["val"].shape, values) for node in nodes]
    except (ArithmeticError, KeyError, TypeError, ValueError):
        return False
    shaped = computed_shapes(model, inputs, shapes) or output_shapes(model, inputs, shapes)
    # Buffers that the model changes stand before its results.
    return shaped is not None and all(map(all, shaped)) and shaped == expected[len(expected) - len(shaped) :]


def computed_shapes(
    model: nn.Module, inputs: Sequence[Any], shapes: Mapping[int, Sequence[int]]
) -> list[tuple[int, ...]] | None:
    """The shapes of the outputs for these inputs, cut and repeated to other shapes, found by a call: for a light model a tenth of the time
    that it takes without data. None where the model raises, or inputs hold whole numbers, which may be places in what is cut off."""
    tensors = [x for x in inputs if isinstance(x, torch.Tensor)]
    if not all(x.is_floating_point() and x.layout is torch.strided and x.numel() for x in tensors):
        return None
    made = [_resized(x, shapes[i]) if isinstance(x, torch.Tensor) else x for i, x in enumerate(inputs)]
    try:
        with _quiet(), torch.no_grad():
            return _shapes(model(*made))
    except Exception:  # noqa: BLE001 - a border to foreign code: the model does not take it, whatever it raises
        return None


def _resized(x: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    for d, n in enumerate(shape):
        x = x.index_select(d, torch.arange(n) % x.shape[d])
    return x


def output_shapes(
    model: nn.Module, inputs: Sequence[Any], shapes: Mapping[int, Sequence[int]]
) -> list[tuple[int, ...]] | None:
    """The shapes of the outputs for inputs of other shapes, by the number of the input, found without data; None where the
    model raises."""
    try:
        with _quiet(), torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True), Unstepped():
            made = [
                torch.empty(tuple(shapes[i]), dtype=x.dtype) if isinstance(x, torch.Tensor) else x
                for i, x in enumerate(inputs)
            ]
            return _shapes(model(*made))
    except Exception:  # noqa: BLE001 - a border to foreign code: the model does not take it, whatever it raises
        return None


def _shapes(results: Any) -> list[tuple[int, ...]]:
    return [tuple(r.shape) for r in pytree.tree_leaves(results) if isinstance(r, torch.Tensor)]


def _is_tensor_node(node: Any) -> bool:
    return isinstance(node, torch.fx.Node) and isinstance(node.meta.get("val"), torch.Tensor)


def _valued(shape: Sequence[Any], values: Mapping[str, int]) -> tuple[int, ...]:
    expressions = [s.node.expr if isinstance(s, torch.SymInt) else sympy.Integer(int(s)) for s in shape]
    return tuple(int(e.subs({s: values[str(s)] for s in e.free_symbols})) for e in expressions)


def _affine(size: Any) -> int | Symbolic | None:
    if not isinstance(size, torch.SymInt):
        return int(size)
    expression = size.node.expr
    if expression.is_Integer:
        return int(expression)
    symbols = list(expression.free_symbols)
    if len(symbols) != 1:
        return None
    scale, shift = expression.coeff(symbols[0], 1), expression.coeff(symbols[0], 0)
    plain = scale.is_Integer and shift.is_Integer and scale > 0
    if not plain or sympy.expand(scale * symbols[0] + shift - expression) != 0:
        return None
    return Symbolic(int(scale), str(symbols[0]), int(shift))


def _interval(values: Any) -> tuple[int, int | None]:
    lower = int(values.lower) if values.lower.is_Integer else 0
    upper = int(values.upper) if values.upper.is_Integer else None
    return lower, upper if upper is None or upper < 1 << 40 else None


def _numbers(exported: ExportedProgram) -> Iterator[int]:
    for node in exported.graph.nodes:
        if node.op != "call_function":
            continue
        schema = getattr(node.target, "_schema", None)
        if schema is None:
            continue
        names = [argument.name for argument in schema.arguments]
        given = {**dict(zip(names, node.args, strict=False)), **node.kwargs}
        for name, value in given.items():
            if name not in _NOT_SIZES:
                for number in _flat(value):
                    yield number
                    # The last position that is taken from a dimension tells its size as well.
                    if name == "index":
                        yield number + 1


def _flat(value: Any) -> Iterator[int]:
    if isinstance(value, list | tuple):
        for item in value:
            yield from _flat(item)
    elif isinstance(value, int | float) and not isinstance(value, bool) and 1 < value < 1 << 40:
        if value == int(value):
            yield int(value)
    elif isinstance(value, float) and 1e-12 < value < 1 and abs(1 / value - round(1 / value)) < 1e-9:
        yield round(1 / value)
