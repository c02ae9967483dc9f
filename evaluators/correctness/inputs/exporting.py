"""The evidence of `torch.export` about the sizes of a model's inputs: which are fixed, which are equal, and their ranges."""

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
from evaluators.correctness.inputs.recurrent import RecurrenceShapes

_NOT_SIZES = {
    *("dim", "dims", "dim0", "dim1", "start_dim", "end_dim", "dtype", "layout", "device", "keepdim", "correction"),
    *("unbiased", "stride", "padding", "dilation", "groups", "output_padding", "step", "normalized_shape", "reduction"),
    *("momentum", "eps", "alpha", "beta", "negative_slope", "p", "dropout_p"),
}
"""The arguments of ATen operations that are no sizes, or whose sizes torch.export checks against those of the inputs."""

_CLOCK_FACTOR = 4.0
"""The limit on wall-clock time as a multiple of that on CPU time, for when other processes use the cores."""
_UNTRIED = 4
"""The largest lower limit that torch.export may state only because it treats sizes 0 and 1 specially, and that is therefore tested."""


@dataclass(frozen=True)
class Symbolic:
    """A size that equals `scale` * `symbol` + `shift`."""

    scale: int
    symbol: str
    shift: int


@dataclass(frozen=True)
class Evidence:
    """The findings of torch.export; empty but for `failure` where it failed."""

    sizes: Mapping[tuple[int, int], int | Symbolic | None] = field(default_factory=dict)
    """The size of each dimension, by (input, dimension); None where its expression is not supported."""
    ranges: Mapping[str, tuple[int, int | None]] = field(default_factory=dict)
    """The smallest and the largest value of each symbol; None where there is no upper limit."""
    numbers: frozenset[int] = frozenset()
    """The integers that operations of the exported graph take as arguments and that may be sizes."""
    operations: int = 0
    """The number of operations in the exported graph."""
    assumed: Assumed | None = None
    """The assumptions under which the exported graph is valid; None where they are not known."""
    failure: str = ""
    """The reason why torch.export failed, in one line; empty where it worked."""
    timed_out: bool = False
    """Whether it failed because time ran out."""

    def proves(self, shapes: Mapping[int, Sequence[int]]) -> bool:
        """Return whether the model certainly accepts inputs of given shapes, since all assumptions of torch.export hold for them.

        Where they do not hold, the model may still accept the inputs, by another path through its code.

        Args:
            shapes: The shape of each tensor, by the index of the input.
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
    """Raised when time has run out. It is no Exception, so that no handler in torch catches it."""


def export_evidence(model: nn.Module, inputs: Sequence[Any], seconds: float) -> Evidence:
    """Export a model with every dimension set to `Dim.AUTO`.

    Args:
        model: The model.
        inputs: The arguments of forward.
        seconds: The limit on CPU time, which applies only in the main thread of a process.

    Returns:
        The findings, or the reason why torch.export failed.
    """
    # torch.export imports these anyway. A time limit that interrupted the import would leave a module half initialized.
    import torch._dynamo
    import torch._functorch.aot_autograd

    free: tuple[Any, ...] = tuple(
        dict.fromkeys(range(x.dim()), Dim.AUTO) if isinstance(x, torch.Tensor) else None for x in inputs
    )
    kinds = [p.kind for p in inspect.signature(model.forward).parameters.values()]
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        named = kinds.index(inspect.Parameter.VAR_POSITIONAL)
        free = (*free[:named], free[named:])
    try:
        with _quiet(), torch.no_grad(), _limited(seconds), RecurrenceShapes():
            evidence = _read(export(model, tuple(inputs), dynamic_shapes=free), model, inputs)
    except _Overtime:
        return Evidence(failure=f"it takes longer than {seconds:g} s", timed_out=True)
    except Exception as error:  # noqa: BLE001 - export raises whatever the model raises
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
    """Raise _Overtime in the block after a number of seconds of CPU time, or `_CLOCK_FACTOR` times as many by the wall clock."""
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
    """Raise _Overtime in the block when a timer has run for a number of seconds; a timer that was set before continues afterwards."""

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
        # torch.export assumes that no free size is 1, nor any size computed from one, since such sizes are broadcast and squeezed.
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
    """Return whether the model accepts n for a symbol, and its outputs have the shapes that torch.export predicts, none of them empty."""
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
    # The outputs of the graph begin with the buffers that the model changes.
    return shaped is not None and all(map(all, shaped)) and shaped == expected[len(expected) - len(shaped) :]


def computed_shapes(
    model: nn.Module, inputs: Sequence[Any], shapes: Mapping[int, Sequence[int]]
) -> list[tuple[int, ...]] | None:
    """Find the shapes of a model's outputs by a call, which for a light model takes a tenth of the time of `output_shapes`.

    Args:
        model: The model.
        inputs: The inputs, which are cut and repeated to the new shapes.
        shapes: The new shape of each tensor, by the index of the input.

    Returns:
        The shapes; None where the model raises, or where some inputs are integers, which may be indices into what is cut off.
    """
    tensors = [x for x in inputs if isinstance(x, torch.Tensor)]
    if not all(x.is_floating_point() and x.layout is torch.strided and x.numel() for x in tensors):
        return None
    made = [_resized(x, shapes[i]) if isinstance(x, torch.Tensor) else x for i, x in enumerate(inputs)]
    try:
        with _quiet(), torch.no_grad():
            return _shapes(model(*made))
    except Exception:  # noqa: BLE001 - the model does not accept these shapes, whatever it raises
        return None


def _resized(x: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    for d, n in enumerate(shape):
        x = x.index_select(d, torch.arange(n) % x.shape[d])
    return x


def output_shapes(
    model: nn.Module, inputs: Sequence[Any], shapes: Mapping[int, Sequence[int]]
) -> list[tuple[int, ...]] | None:
    """Find the shapes of a model's outputs by tracing it without data.

    Args:
        model: The model.
        inputs: The inputs, whose dtypes and plain values are used.
        shapes: The new shape of each tensor, by the index of the input.

    Returns:
        The shapes; None where the model raises.
    """
    try:
        with _quiet(), torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True), RecurrenceShapes():
            made = [
                torch.empty(tuple(shapes[i]), dtype=x.dtype) if isinstance(x, torch.Tensor) else x
                for i, x in enumerate(inputs)
            ]
            return _shapes(model(*made))
    except Exception:  # noqa: BLE001 - the model does not accept these shapes, whatever it raises
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
                    # An index may be the last one of a dimension, whose size is then one more.
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
