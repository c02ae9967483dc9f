"""Draws of a task with another distribution of values and the same shapes.

Every input keeps the properties that its draws show. Integers take drawn values only, or the ends of a declared range.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from evaluators.correctness.inputs.facts import Facts, repair
from evaluators.correctness.inputs.ranges import Range
from evaluators.correctness.inputs.values.choosing import (
    accepts_nonfinite,
    has_ends,
    has_rows,
    is_free,
    is_mask,
    kind_of,
    reaches_beyond,
    round_ends,
)
from evaluators.correctness.inputs.values.distributions import (
    BELOW,
    EMPTY_MASKS,
    ENDS,
    FURTHER,
    LITTLE_BELOW,
    MANY_NONFINITE,
    ZERO_ROWS,
    Distribution,
)

_LEVELS = 3
"""The number of different values in an input with ties."""
_LARGE, _LARGE_16 = 1024.0, 16.0
"""The factor by which values become large, for dtypes of more than 16 bits and for others."""
_SHARE_OF_ZEROS = 0.25
"""The share of elements that become negative zeros."""
_SHARE_OF_ENDS = 0.125
"""The share of elements that are set to each end of the range."""
_BEYOND = 4.0
"""The factor by which the distance from the middle of the drawn values grows."""
_MANY = 8
"""The number of elements of which about one is not finite, in inputs with many such elements."""
_NEAR, _FAR = 0.125, 0.25
"""The smallest and the largest change of a constant, as a share of its value."""
_STEPS = 2.0
"""The inverse of the step on which a part of the ties lies: multiples of a half, where rounding has ties and functions have kinks."""


def another(value: bool | int | float) -> bool | int | float:
    """Return another value for a plain argument that is the same in every call."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    return value * (1 + _FAR) if value else _FAR


def redistribute(
    inputs: Sequence[Any],
    distribution: Distribution,
    facts: Mapping[int, Facts],
    fixed: Mapping[int, str],
    ranges: Sequence[Range | None],
    generator: torch.Generator,
) -> list[Any]:
    """Return a draw of the task with another distribution of values and the same shapes.

    Args:
        inputs: A draw of the inputs, which is not changed.
        distribution: The distribution.
        facts: The facts of each tensor, by the index of the input.
        fixed: The inputs that stay as drawn, from `fixed_values`.
        ranges: The declared range of each input; None where the task declares none.
        generator: The source of random numbers.
    """
    floats = [i for i, x in enumerate(inputs) if i not in fixed and kind_of(x, facts[i]) == "float"]
    only = floats[int(torch.randint(len(floats), (), generator=generator))] if floats else -1
    made = list(inputs)
    for i, x in enumerate(inputs):
        if i in fixed:
            continue
        kind = kind_of(x, facts[i])
        if kind == "float":
            name = distribution.floats
            if name is None or (name == "zeros in one input" and i != only):
                continue
            if distribution.nonfinite:
                if accepts_nonfinite(x, facts[i], ranges[i]):
                    made[i] = _with_nonfinite(x, facts[i], generator, many=distribution is MANY_NONFINITE)
                continue
            if distribution in (*FURTHER, LITTLE_BELOW):
                made[i] = _as_square(_further(x, distribution, facts[i], ranges[i], generator), x, facts[i])
                continue
            new = _clamped(_FLOATS[name](x, generator), x, facts[i], ranges[i])
        elif kind == "integer" and distribution.integers is not None:
            new = _integers(x, distribution.integers, ranges[i], generator)
        elif distribution is EMPTY_MASKS:
            if is_mask(x, facts[i], ranges[i]):
                made[i] = _zero_rows(x)
            continue
        elif kind == "boolean" and distribution.booleans is not None:
            new = _booleans(x, distribution.booleans)
        else:
            continue
        made[i] = repair(_as_square(new, x, facts[i]), facts[i])
    return made


def _as_square(new: torch.Tensor, drawn: torch.Tensor, facts: Facts) -> torch.Tensor:
    """Return values with the structure of the drawn matrices, triangular or symmetric."""
    if facts.square == "triangular":
        return torch.where(drawn == 0, drawn, new)
    if facts.square == "symmetric":
        return torch.where(torch.ones_like(new, dtype=torch.bool).triu(), new, new.mT)
    return new


def _ends(x: torch.Tensor, facts: Facts, generator: torch.Generator) -> torch.Tensor:
    made = x
    for end in round_ends(facts):
        made = torch.where(torch.rand(tuple(x.shape), generator=generator) < _SHARE_OF_ENDS, end, made)
    return made.to(x.dtype)


def _zero_rows(x: torch.Tensor) -> torch.Tensor:
    made = x.clone()
    made[::2] = 0
    return made


def other_constants(x: torch.Tensor, facts: Facts, generator: torch.Generator) -> torch.Tensor:
    """Return another value for each element of a constant input: a small change of its value, or a small value where all are zero."""
    away = _NEAR + (_FAR - _NEAR) * torch.rand(tuple(x.shape), generator=generator)
    away = torch.where(torch.rand(tuple(x.shape), generator=generator) < 0.5, -away, away)
    zeros = facts.uniform and facts.low == 0
    made = (away if zeros else x * (1 + away)).to(x.dtype)
    return made if facts.uniform else repair(made, facts)


def _further(
    x: torch.Tensor, distribution: Distribution, facts: Facts, declared: Range | None, generator: torch.Generator
) -> torch.Tensor:
    if distribution in (BELOW, LITTLE_BELOW):
        return _below(x, generator, far=distribution is BELOW) if is_free(x, facts, declared) else x
    if distribution is ZERO_ROWS:
        return _zero_rows(x) if has_rows(x, facts, declared) else x
    if distribution is ENDS:
        return _ends(x, facts, generator) if has_ends(x, facts, declared) else x
    if not reaches_beyond(x, facts, declared):
        return x
    low, high = torch.aminmax(x)
    middle = (low + high) / 2
    return middle + (x - middle) * _BEYOND


def _clamped(new: torch.Tensor, x: torch.Tensor, facts: Facts, declared: Range | None) -> torch.Tensor:
    low, high = facts.low, facts.high
    if declared is not None:
        least = torch.tensor(declared[1], dtype=x.dtype)
        low, high = declared[0], float(torch.nextafter(least, torch.tensor(float("-inf"), dtype=x.dtype)))
    most = torch.finfo(x.dtype).max
    return new.clamp(-most if low is None else low, most if high is None else high)


def _below(x: torch.Tensor, generator: torch.Generator, *, far: bool) -> torch.Tensor:
    """Return negative values; with `far`, those of every other row are below any initial value that a kernel may give a maximum."""
    made = -x.abs().reshape(-1, x.shape[-1] if x.dim() else 1)
    if far:
        made[::2] = _large(made[::2] - 1, generator)
    return made.reshape(x.shape)


def _large(x: torch.Tensor, _generator: torch.Generator) -> torch.Tensor:
    return x * (_LARGE if x.element_size() > 2 else _LARGE_16)


def _tiny(x: torch.Tensor, _generator: torch.Generator) -> torch.Tensor:
    return x / (_LARGE**2 if x.element_size() > 2 else _LARGE_16**2)


def _ties(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    flat = x.reshape(-1)
    levels = flat[torch.randint(flat.numel(), (_LEVELS,), generator=generator)]
    return levels[torch.randint(_LEVELS, tuple(x.shape), generator=generator)]


def _float_ties(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return a few drawn values, and drawn values rounded to halves except zeros, which some operators do not accept."""
    few, near = _ties(x, generator), torch.round(x * _STEPS) / _STEPS
    return torch.where((torch.rand(tuple(x.shape), generator=generator) < 0.5) & (near != 0), near, few)


def _sorted(x: torch.Tensor, _generator: torch.Generator) -> torch.Tensor:
    return x.sort(dim=-1).values if x.dim() else x


def _constant_rows(x: torch.Tensor, _generator: torch.Generator) -> torch.Tensor:
    return x[..., :1].expand(x.shape).contiguous() if x.dim() else x


def _negative_zeros(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return torch.where(torch.rand(tuple(x.shape), generator=generator) < _SHARE_OF_ZEROS, -0.0, x)


def _zeros(x: torch.Tensor, _generator: torch.Generator) -> torch.Tensor:
    return torch.zeros_like(x)


def _outlier(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    flat = x.reshape(-1).clone()
    flat[int(torch.randint(flat.numel(), (), generator=generator))] = _large(flat.abs().max(), generator)
    return flat.reshape(x.shape)


_FLOATS: Mapping[str, Callable[[torch.Tensor, torch.Generator], torch.Tensor]] = {
    "large": _large,
    "tiny": _tiny,
    "ties": _float_ties,
    "sorted": _sorted,
    "constant rows": _constant_rows,
    "negative zeros": _negative_zeros,
    "zeros in one input": _zeros,
    "one outlier": _outlier,
}


def _with_nonfinite(x: torch.Tensor, facts: Facts, generator: torch.Generator, *, many: bool) -> torch.Tensor:
    """Return values of which three, or with `many` a share, are NaN or infinite.

    Three show how sums and maxima treat them; many also lie where masks or conditions exclude them. Inputs with a restricted range get
    NaN only: infinities are outside of any range, and expressions that are equal within a range, such as x - x * x and x * (1 - x), differ
    for them.
    """
    flat = x.reshape(-1).clone()
    free = facts.low is None and facts.high is None
    kinds = torch.tensor(
        [float("nan"), float("inf") if free else float("nan"), float("-inf") if free else float("nan")]
    )
    kinds = kinds.to(x.dtype)
    count = max(len(kinds), flat.numel() // _MANY) if many else len(kinds)
    places = torch.randperm(flat.numel(), generator=generator)[:count]
    flat[places] = kinds[torch.arange(count) % len(kinds)]
    return flat.reshape(x.shape)


def _integers(x: torch.Tensor, name: str, declared: Range | None, generator: torch.Generator) -> torch.Tensor:
    if name in ("minimum", "maximum"):
        value = (x.min() if name == "minimum" else x.max()).item()
        if declared is not None and not x.is_floating_point():
            value = declared[0] if name == "minimum" else declared[1] - 1
        return torch.full_like(x, value)
    if name == "ties":
        return _ties(x, generator)
    return x.sort(dim=-1, descending=name == "reversed").values if x.dim() else x


def _booleans(x: torch.Tensor, name: str) -> torch.Tensor:
    if name == "alternating":
        return (torch.arange(x.numel()) % 2 == 0).to(x.dtype).reshape(x.shape)
    return torch.full_like(x, name == "all true")
