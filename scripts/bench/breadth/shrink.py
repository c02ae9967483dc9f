"""Copies of KernelBench's problems whose sizes are small enough for a CPU.

Only the numbers are smaller: whole numbers of the module's own assignments and of the functions that give the inputs are halved, the
largest first and alone where that goes, as long as that saves something and the model still takes its inputs. What a call costs is
estimated without data, on the meta device.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from types import ModuleType
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

_LEAST = 16
"""A number below this is no size, or small already: kernel widths, strides, groups, layers."""
_LEAST_BATCH = 2
_ODD = 64
"""An odd number below this is a kernel width or the like."""
_SAVING = 0.95
"""What halving a number must bring the cost down to, at least."""
_FLOPS_PER_SECOND, _BYTES_PER_SECOND = 4e10, 8e9
"""Of a small CPU, roughly."""


@dataclass(frozen=True)
class Cost:
    """What one call takes, estimated."""

    flops: float
    moved_bytes: float
    """That the results of all operations take."""
    held_bytes: float
    """Of inputs, parameters and buffers."""

    @property
    def seconds(self) -> float:
        return self.flops / _FLOPS_PER_SECOND + self.moved_bytes / _BYTES_PER_SECOND


@dataclass(frozen=True)
class Limits:
    """When a problem is small enough."""

    seconds: float = 0.01
    held_bytes: float = 64e6

    def excess(self, cost: Cost) -> float:
        """1 or less where the cost is within the limits."""
        return max(cost.seconds / self.seconds, cost.held_bytes / self.held_bytes)


@dataclass(frozen=True)
class Shrunk:
    """A copy of a problem."""

    source: str
    changes: tuple[str, ...]
    """Such as `batch_size 128 -> 8`."""
    note: str
    """Why it is larger than the limits ask for; empty where it is not."""


@dataclass(frozen=True)
class _Number:
    """A whole number in the text."""

    start: int
    stop: int
    """Offsets in characters."""
    value: int
    name: str

    @property
    def halved(self) -> int | None:
        """Half of it, odd again where it was odd; None where that would be no size any more."""
        least = _LEAST_BATCH if "batch" in self.name.lower() else _LEAST // 2
        half = self.value // 2 | self.value % 2
        return half if least <= half < self.value and (self.value % 2 == 0 or self.value > _ODD) else None


def shrink(source: str, limits: Limits | None = None) -> Shrunk:
    """The problem with smaller numbers. One whose model does not run without data, or that cannot get small enough, says so."""
    limits = limits or Limits()
    try:
        cost = _cost(source)
    except Exception as error:  # noqa: BLE001 - a problem's own code raises whatever it likes
        return Shrunk(
            source, (), f"as it is: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        )
    begun = _numbers(source)
    while limits.excess(cost) > 1:
        smaller = _smaller(source, cost, limits)
        if smaller is None:
            break
        source, cost = smaller
    changes = tuple(
        f"{early.name} {early.value} -> {late.value}"
        for early, late in zip(begun, _numbers(source), strict=True)
        if early.value != late.value
    )
    note = (
        "" if limits.excess(cost) <= 1 else f"no smaller: {cost.seconds * 1e3:.0f} ms, {cost.held_bytes / 1e6:.0f} MB"
    )
    return Shrunk(source, changes, note)


def _smaller(source: str, cost: Cost, limits: Limits) -> tuple[str, Cost] | None:
    """With the largest number halved that saves something and that the model can do with, else with all that are equal to one;
    None where there is none."""
    numbers = sorted((n for n in _numbers(source) if n.halved is not None), key=lambda number: -number.value)
    alone = [[number] for number in numbers]
    together = [[n for n in numbers if n.value == value] for value in dict.fromkeys(n.value for n in numbers)]
    for chosen in (*alone, *(group for group in together if len(group) > 1)):
        tried = source
        for number in sorted(chosen, key=lambda number: -number.start):
            tried = tried[: number.start] + str(number.halved) + tried[number.stop :]
        try:
            found = _cost(tried)
        except Exception:  # noqa: BLE001 - with these numbers the model does not take its inputs
            continue
        if limits.excess(found) < _SAVING * limits.excess(cost):
            return tried, found
    return None


def _numbers(source: str) -> list[_Number]:
    """In the order of the text."""
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    found = []
    for name, node in _literals(ast.parse(source)):
        start = starts[node.lineno - 1] + node.col_offset
        stop = starts[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)
        if source[start:stop].isdigit():
            found.append(_Number(start, stop, int(source[start:stop]), name))
    return sorted(found, key=lambda number: number.start)


def _literals(module: ast.Module) -> Iterator[tuple[str, ast.Constant]]:
    for statement in module.body:
        if isinstance(statement, ast.Assign):
            name = statement.targets[0].id if isinstance(statement.targets[0], ast.Name) else ""
            yield from ((name, node) for node in _whole(statement.value))
        elif isinstance(statement, ast.FunctionDef) and statement.name in ("get_inputs", "get_init_inputs"):
            yield from ((statement.name, node) for node in _whole(statement))


def _whole(tree: ast.AST) -> Iterator[ast.Constant]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and type(node.value) is int:
            yield node


class _Moved(TorchDispatchMode):
    """Adds up what results take."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0.0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, torch.Tensor):
                self.bytes += prod(tensor.shape) * tensor.element_size()
        return result


def _cost(source: str) -> Cost:
    """Raises whatever the problem raises on the meta device."""
    module = ModuleType("kernelbench_problem")
    exec(compile(source, "problem.py", "exec", dont_inherit=True), module.__dict__)
    with torch.device("meta"), torch.no_grad():
        model = module.Model(*module.get_init_inputs())
        inputs = module.get_inputs()
        moved = _Moved()
        with FlopCounterMode(display=False) as flops, moved:
            model(*inputs)
    tensors = [x for x in inputs if isinstance(x, torch.Tensor)]
    tensors += [*model.parameters(), *model.buffers()]
    held = float(sum(t.numel() * t.element_size() for t in tensors))
    return Cost(float(flops.get_total_flops()), moved.bytes, held)
