"""Other distributions of values: large, tiny, tied, sorted, constant, with negative zeros, the ends of integer ranges.

Every input keeps what evidently holds for it: its range where that is restricted, its order, its masks. Whole numbers take drawn values
only, or the ends of a declared range. Denormal numbers are left out: a kernel that flushes them to zero is honest. Some distributions go
further, where the reference bears it: `BEYOND` and `BELOW` leave a range that is drawn and not declared, `ENDS` reach its ends, `ZERO_ROWS`
and `EMPTY_MASKS` leave nothing to divide by, and `OTHER_CONSTANTS` changes floating inputs that are the same in every draw.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from evaluators.correctness.inputs.facts import Facts, repair
from evaluators.correctness.inputs.ranges import Range
from evaluators.correctness.inputs.relations import Jagged, LengthsOf, Ordered, Relation, Rises, SegmentsOf

_LEVELS = 3
_LARGE, _LARGE_16 = 1024.0, 16.0
_SHARE_OF_ZEROS = 0.25
_SHARE_OF_ENDS = 0.125
_NEAR_END = 0.01
"""Share of the span."""
_LEAST_NONFINITE = 4
_BEYOND = 4.0
"""Times the distance from the middle of what is drawn."""
_MANY = 8
"""Of so many elements about one is not finite."""
_NEAR, _FAR = 0.125, 0.25
"""Shares of a constant between which it is moved."""
_STEPS = 2.0
"""A part of the ties lies on multiples of its inverse: where rounding has ties, and where operators change over."""


@dataclass(frozen=True)
class Distribution:
    """What one case does to floating, whole-numbered and boolean inputs; None: they stay as drawn."""

    floats: str | None
    integers: str | None = None
    booleans: str | None = None
    ties: bool = False
    """It makes equal values, whose order an unstable sort or a top-k is free to choose."""
    nonfinite: bool = False
    """It holds NaN and infinities."""

    @property
    def name(self) -> str:
        return self.floats or self.integers or self.booleans or ""


DISTRIBUTIONS = (
    Distribution("large", "maximum", "all true", ties=True),
    Distribution("tiny", "minimum", "all false", ties=True),
    Distribution("ties", "ties", "alternating", ties=True),
    Distribution("sorted", "sorted"),
    Distribution("constant rows", "reversed", ties=True),
    Distribution("negative zeros", ties=True),
    Distribution("zeros in one input", ties=True),
    Distribution("one outlier"),
)
"""In the order in which they are used."""
NONFINITE = Distribution("NaN and infinities", ties=True, nonfinite=True)
MANY_NONFINITE = Distribution("many NaN and infinities", ties=True, nonfinite=True)
BEYOND = Distribution("beyond the drawn range")
BELOW = Distribution("far below zero")
LITTLE_BELOW = Distribution("below zero")
"""In the place of the one before, where the reference is not precise there."""
OTHER_CONSTANTS = Distribution("other constants")
ZERO_ROWS = Distribution("zeros in every other row", ties=True)
EMPTY_MASKS = Distribution(None, None, "every other row of masks empty", ties=True)
ENDS = Distribution("ends of the drawn range", ties=True)
FURTHER = (ENDS, BEYOND, BELOW, ZERO_ROWS, EMPTY_MASKS)
OUTSIDE = (BEYOND, BELOW, LITTLE_BELOW)
"""Of these, those that leave a range."""


def kept(inputs: Sequence[Any], facts: Mapping[int, Facts], relations: frozenset[Relation]) -> dict[int, str]:
    """The inputs whose values stay as they are drawn, and why, in a few words."""
    why: dict[int, str] = {}
    for i, x in enumerate(inputs):
        if not isinstance(x, torch.Tensor):
            why[i] = "a plain value"
        elif x.is_complex():
            why[i] = "complex numbers"
        elif x.numel() == 0:
            why[i] = "it is empty"
        elif facts[i].kept:
            why[i] = facts[i].kept
    for r in sorted(relations, key=lambda r: (not isinstance(r, Jagged), repr(r))):
        if isinstance(r, Jagged):
            why.setdefault(r.source, "it splits values into rows")
        elif isinstance(r, LengthsOf | SegmentsOf):
            why.setdefault(r.what, f"it goes with the rows of x{r.source}")
        elif isinstance(r, Rises):
            why.setdefault(r.what, "it rises from 0, as offsets do")
        elif isinstance(r, Ordered):
            why.setdefault(r.lower, f"it never exceeds x{r.upper}")
            why.setdefault(r.upper, f"it is never below x{r.lower}")
    return why


def another(value: bool | int | float) -> bool | int | float:
    """A number in the place of one that is the same in every call."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    return value * (1 + _FAR) if value else _FAR


def applicable(
    inputs: Sequence[Any], facts: Mapping[int, Facts], fixed: Mapping[int, str], count: int
) -> list[tuple[str, Distribution]]:
    """The first `count` distributions that change an input, by name."""
    kinds = {_kind(x, facts[i]) for i, x in enumerate(inputs) if i not in fixed}
    named: dict[str, Distribution] = {}
    for distribution in DISTRIBUTIONS:
        name = _name(distribution, kinds)
        if name is not None and len(named) < count:
            named.setdefault(name, distribution)
    return list(named.items())


def takes_nonfinite(
    inputs: Sequence[Any], facts: Mapping[int, Facts], fixed: Mapping[int, str], ranges: Sequence[Range | None]
) -> bool:
    """Whether some input could hold NaN and infinities: a floating one for which nothing is declared, and no order of which is known."""
    return any(i not in fixed and _takes_nonfinite(x, facts[i], ranges[i]) for i, x in enumerate(inputs))


def further(
    inputs: Sequence[Any], facts: Mapping[int, Facts], fixed: Mapping[int, str], ranges: Sequence[Range | None]
) -> list[Distribution]:
    """Distributions that go beyond what is drawn and not declared, where some input does."""
    applies = (
        (ENDS, _has_ends),
        (BEYOND, _goes_beyond),
        (BELOW, _free),
        (ZERO_ROWS, _has_rows),
        (EMPTY_MASKS, _is_mask),
    )
    return [
        d for d, does in applies if any(i not in fixed and does(x, facts[i], ranges[i]) for i, x in enumerate(inputs))
    ]


def changeable_constants(
    inputs: Sequence[Any], facts: Mapping[int, Facts], fixed: Mapping[int, str], ranges: Sequence[Range | None]
) -> frozenset[int]:
    """Floating inputs that are the same in every draw, and could as well be others. `fixed`: because of their dtype."""
    return frozenset(
        i
        for i, x in enumerate(inputs)
        if isinstance(x, torch.Tensor)
        and i not in fixed
        and x.numel()
        and x.is_floating_point()
        and facts[i].constant
        and ranges[i] is None
        and facts[i].finite
        and not facts[i].square
        and (facts[i].uniform or not facts[i].discrete)
    )


def redistribute(
    inputs: Sequence[Any],
    distribution: Distribution,
    facts: Mapping[int, Facts],
    fixed: Mapping[int, str],
    ranges: Sequence[Range | None],
    generator: torch.Generator,
) -> list[Any]:
    """A draw of the task with another distribution of values; shapes stay, and `inputs` are not changed.

    `fixed`: inputs that stay as they are, from `kept`. `ranges`: what the task declares, one for each input.
    """
    floats = [i for i, x in enumerate(inputs) if i not in fixed and _kind(x, facts[i]) == "float"]
    only = floats[int(torch.randint(len(floats), (), generator=generator))] if floats else -1
    made = list(inputs)
    for i, x in enumerate(inputs):
        if i in fixed:
            continue
        kind = _kind(x, facts[i])
        if kind == "float":
            name = distribution.floats
            if name is None or (name == "zeros in one input" and i != only):
                continue
            if distribution.nonfinite:
                if _takes_nonfinite(x, facts[i], ranges[i]):
                    made[i] = _with_nonfinite(x, facts[i], generator, many=distribution is MANY_NONFINITE)
                continue
            if distribution in (*FURTHER, LITTLE_BELOW):
                made[i] = _as_square(_further(x, distribution, facts[i], ranges[i], generator), x, facts[i])
                continue
            new = _clamped(_FLOATS[name](x, generator), x, facts[i], ranges[i])
        elif kind == "integer" and distribution.integers is not None:
            new = _integers(x, distribution.integers, ranges[i], generator)
        elif distribution is EMPTY_MASKS:
            if _is_mask(x, facts[i], ranges[i]):
                made[i] = _zero_rows(x)
            continue
        elif kind == "boolean" and distribution.booleans is not None:
            new = _booleans(x, distribution.booleans)
        else:
            continue
        made[i] = repair(_as_square(new, x, facts[i]), facts[i])
    return made


def _as_square(new: torch.Tensor, drawn: torch.Tensor, facts: Facts) -> torch.Tensor:
    """Matrices of the same structure as the drawn ones."""
    if facts.square == "triangular":
        return torch.where(drawn == 0, drawn, new)
    if facts.square == "symmetric":
        return torch.where(torch.ones_like(new, dtype=torch.bool).triu(), new, new.mT)
    return new


def _kind(x: torch.Tensor, facts: Facts) -> str:
    """Whole numbers and masks are what they are whatever their dtype."""
    if facts.binary:
        return "boolean"
    return "integer" if facts.discrete or not x.is_floating_point() else "float"


def _name(distribution: Distribution, kinds: set[str]) -> str | None:
    parts = {"float": distribution.floats, "integer": distribution.integers, "boolean": distribution.booleans}
    names = [name for kind, name in parts.items() if kind in kinds and name is not None]
    return names[0] if names else None


def _free(x: Any, facts: Facts, declared: Range | None) -> bool:
    if not isinstance(x, torch.Tensor) or _kind(x, facts) != "float" or declared is not None:
        return False
    return not facts.ascending and not facts.descending and not facts.sums_to_one


def _takes_nonfinite(x: Any, facts: Facts, declared: Range | None) -> bool:
    return _free(x, facts, declared) and not facts.square and x.numel() >= _LEAST_NONFINITE


def _goes_beyond(x: Any, facts: Facts, declared: Range | None) -> bool:
    return _free(x, facts, declared) and (facts.low is not None or facts.high is not None)


def _has_ends(x: Any, facts: Facts, declared: Range | None) -> bool:
    return _free(x, facts, declared) and bool(_round_ends(facts))


def _round_ends(facts: Facts) -> list[float]:
    """Whole numbers that the ends of the range come so near to that they are meant: 0 and 1 of `torch.rand`."""
    span = (facts.high or 0.0) - (facts.low or 0.0)
    ends = [end for end in (facts.low, facts.high) if end is not None]
    return [float(round(end)) for end in ends if abs(end - round(end)) <= _NEAR_END * max(span, 1.0)]


def _ends(x: torch.Tensor, facts: Facts, generator: torch.Generator) -> torch.Tensor:
    made = x
    for end in _round_ends(facts):
        made = torch.where(torch.rand(tuple(x.shape), generator=generator) < _SHARE_OF_ENDS, end, made)
    return made.to(x.dtype)


def _has_rows(x: Any, facts: Facts, declared: Range | None) -> bool:
    zero = facts.low is None or facts.low <= 0 or 0.0 in _round_ends(facts)
    return zero and _free(x, facts, declared) and x.dim() > 1


def _is_mask(x: Any, facts: Facts, declared: Range | None) -> bool:
    return isinstance(x, torch.Tensor) and facts.binary and declared is None and not facts.one_hot and x.dim() > 1


def _zero_rows(x: torch.Tensor) -> torch.Tensor:
    made = x.clone()
    made[::2] = 0
    return made


def other_constants(x: torch.Tensor, facts: Facts, generator: torch.Generator) -> torch.Tensor:
    """Each element moved by a share of itself; zeros, where there is nothing else, to something small."""
    away = _NEAR + (_FAR - _NEAR) * torch.rand(tuple(x.shape), generator=generator)
    away = torch.where(torch.rand(tuple(x.shape), generator=generator) < 0.5, -away, away)
    zeros = facts.uniform and facts.low == 0
    made = (away if zeros else x * (1 + away)).to(x.dtype)
    return made if facts.uniform else repair(made, facts)


def _further(
    x: torch.Tensor, distribution: Distribution, facts: Facts, declared: Range | None, generator: torch.Generator
) -> torch.Tensor:
    if distribution in (BELOW, LITTLE_BELOW):
        return _below(x, generator, far=distribution is BELOW) if _free(x, facts, declared) else x
    if distribution is ZERO_ROWS:
        return _zero_rows(x) if _has_rows(x, facts, declared) else x
    if distribution is ENDS:
        return _ends(x, facts, generator) if _has_ends(x, facts, declared) else x
    if not _goes_beyond(x, facts, declared):
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
    """`far`: every other row, under what a kernel begins a maximum with, or takes for the least value."""
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
    """A few values of the draw, and whole and half numbers near to it; no zeros, which some operators do not take."""
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
    """Three elements, by which sums and maxima are told; or many, of which some lie where a mask or a condition says otherwise.

    Infinities are out of any range; and x - x * x, which is x * (1 - x) within one, is not for them.
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
