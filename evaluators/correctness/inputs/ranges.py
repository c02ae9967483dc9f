"""The ranges of legal values that a task declares with `get_input_ranges` in its file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from kernelevolve.core.errors import UserError
from kernelevolve.tasks.loading import LoadedTask

Range = tuple[float, float]
"""The legal values of an input as (low, high), where low <= value < high."""


def declared_ranges(loaded: LoadedTask, inputs: Sequence[Any]) -> list[Range | None]:
    """Return the declared ranges of a task's inputs.

    Args:
        loaded: The task.
        inputs: A draw of the task's inputs, whose values must lie within the ranges.

    Returns:
        One range for each input; None where the task declares none.

    Raises:
        UserError: The ranges are not a list of pairs, one for each input; a range is empty, belongs to a plain value or a boolean
            tensor, or does not contain a drawn value.
    """
    declared = loaded.get_input_ranges()
    if declared is None:
        return [None] * len(inputs)
    name = loaded.task.name
    if len(declared) != len(inputs):
        raise UserError(
            f"task {name}: get_input_ranges returns {len(declared)} ranges for {len(inputs)} inputs; give one for each, or None"
        )
    return [_checked(name, i, pair, x) for i, (pair, x) in enumerate(zip(declared, inputs, strict=True))]


def _checked(name: str, i: int, pair: Any, x: Any) -> Range | None:
    if pair is None:
        return None
    where = f"task {name}: get_input_ranges, input {i}"
    if not isinstance(pair, tuple | list) or len(pair) != 2 or not all(_is_number(v) for v in pair):
        raise UserError(f"{where}: {pair!r} is not a pair of numbers (low, high)")
    low, high = pair
    if not low < high:
        raise UserError(f"{where}: the range from {low} to below {high} is empty; give (low, high) with low < high")
    if not isinstance(x, torch.Tensor) or x.dtype == torch.bool or x.is_complex():
        raise UserError(f"{where}: it is not a tensor of numbers; give None")
    if not x.is_floating_point() and not (isinstance(low, int) and isinstance(high, int)):
        raise UserError(f"{where}: {pair!r} must be whole numbers, as the input is {x.dtype}")
    if x.numel():
        least, most = (v.item() for v in torch.aminmax(x))
        if least < low or most >= high:
            raise UserError(
                f"{where}: get_inputs draws values from {least} to {most}, outside of {low} to below {high}"
            )
    return low, high


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)
