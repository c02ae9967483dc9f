"""Other distributions of values: large, tiny, tied, sorted, constant, with negative zeros, the ends of integer ranges.

Every input keeps what evidently holds for it: its range where that is restricted, its order, its masks. Whole numbers take drawn values
only, or the ends of a declared range. Denormal numbers are left out: a kernel that flushes them to zero is honest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from evaluators.inputs.facts import Facts, repair
from evaluators.inputs.ranges import Range
from evaluators.inputs.relations import Jagged, LengthsOf, Ordered, Relation, Rises, SegmentsOf

_LEVELS = 3
_LARGE, _LARGE_16 = 1024.0, 16.0
_SHARE_OF_ZEROS = 0.25
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
NONFINITE = Distribution("NaN and infinities", nonfinite=True)


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
    """Whether some input could hold NaN and infinities: a floating one that is not restricted."""
    return any(i not in fixed and ranges[i] is None and _unrestricted(x, facts[i]) for i, x in enumerate(inputs))


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
            if name == NONFINITE.floats:
                if _unrestricted(x, facts[i]) and ranges[i] is None:
                    made[i] = _with_nonfinite(x, generator)
                continue
            new = _clamped(_FLOATS[name](x, generator), x, facts[i], ranges[i])
        elif kind == "integer" and distribution.integers is not None:
            new = _integers(x, distribution.integers, ranges[i], generator)
        elif kind == "boolean" and distribution.booleans is not None:
            new = _booleans(x, distribution.booleans)
        else:
            continue
        made[i] = repair(new, facts[i])
    return made


def _kind(x: torch.Tensor, facts: Facts) -> str:
    """Whole numbers and masks are what they are whatever their dtype."""
    if facts.binary:
        return "boolean"
    return "integer" if facts.discrete or not x.is_floating_point() else "float"


def _name(distribution: Distribution, kinds: set[str]) -> str | None:
    parts = {"float": distribution.floats, "integer": distribution.integers, "boolean": distribution.booleans}
    names = [name for kind, name in parts.items() if kind in kinds and name is not None]
    return names[0] if names else None


def _unrestricted(x: Any, facts: Facts) -> bool:
    if not isinstance(x, torch.Tensor) or _kind(x, facts) != "float" or x.numel() < 4:
        return False
    ordered = facts.ascending or facts.descending
    return facts.low is None and facts.high is None and not ordered and not facts.sums_to_one


def _clamped(new: torch.Tensor, x: torch.Tensor, facts: Facts, declared: Range | None) -> torch.Tensor:
    low, high = facts.low, facts.high
    if declared is not None:
        least = torch.tensor(declared[1], dtype=x.dtype)
        low, high = declared[0], float(torch.nextafter(least, torch.tensor(float("-inf"), dtype=x.dtype)))
    most = torch.finfo(x.dtype).max
    return new.clamp(-most if low is None else low, most if high is None else high)


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


def _with_nonfinite(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    flat = x.reshape(-1).clone()
    places = torch.randperm(flat.numel(), generator=generator)[:3]
    flat[places] = torch.tensor([float("nan"), float("inf"), float("-inf")], dtype=x.dtype)
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
