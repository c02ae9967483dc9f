"""The choice of the distributions of values that fit a task, and of the inputs that they change.

Every input keeps the properties that its draws show: a restricted range, an order, the form of masks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from evaluators.correctness.inputs.facts import Facts
from evaluators.correctness.inputs.ranges import Range
from evaluators.correctness.inputs.relations import Jagged, LengthsOf, Ordered, Relation, Rises, SegmentsOf
from evaluators.correctness.inputs.values.distributions import (
    BELOW,
    BEYOND,
    DISTRIBUTIONS,
    EMPTY_MASKS,
    ENDS,
    ZERO_ROWS,
    Distribution,
)

_NEAR_END = 0.01
"""The distance from an integer up to which the end of a range is taken for that integer, as a share of the span."""
_LEAST_NONFINITE = 4
"""The least number of elements of an input that gets NaN and infinities."""


def fixed_values(inputs: Sequence[Any], facts: Mapping[int, Facts], relations: frozenset[Relation]) -> dict[int, str]:
    """Return the inputs whose values must stay as drawn.

    Args:
        inputs: A draw of the inputs.
        facts: The facts of each tensor, by the index of the input.
        relations: The relations between the inputs.

    Returns:
        The index of an input -> the reason, as a phrase.
    """
    why: dict[int, str] = {}
    for i, x in enumerate(inputs):
        if not isinstance(x, torch.Tensor):
            why[i] = "a plain value"
        elif x.is_complex():
            why[i] = "complex numbers"
        elif x.numel() == 0:
            why[i] = "it is empty"
        elif facts[i].why_fixed:
            why[i] = facts[i].why_fixed
    for r in sorted(relations, key=lambda r: (not isinstance(r, Jagged), repr(r))):
        if isinstance(r, Jagged):
            why.setdefault(r.source, "it splits values into rows")
        elif isinstance(r, LengthsOf | SegmentsOf):
            why.setdefault(r.what, f"it depends on the rows of x{r.source}")
        elif isinstance(r, Rises):
            why.setdefault(r.what, "it rises from 0, as offsets do")
        elif isinstance(r, Ordered):
            why.setdefault(r.lower, f"it never exceeds x{r.upper}")
            why.setdefault(r.upper, f"it is never below x{r.lower}")
    return why


def applicable(
    inputs: Sequence[Any], facts: Mapping[int, Facts], fixed: Mapping[int, str], count: int
) -> list[tuple[str, Distribution]]:
    """Return the first distributions that change some input.

    Args:
        inputs: A draw of the inputs.
        facts: The facts of each tensor, by the index of the input.
        fixed: The inputs that stay as drawn, from `fixed_values`.
        count: The largest number of distributions.

    Returns:
        Pairs of a name and a distribution.
    """
    kinds = {kind_of(x, facts[i]) for i, x in enumerate(inputs) if i not in fixed}
    named: dict[str, Distribution] = {}
    for distribution in DISTRIBUTIONS:
        name = _name(distribution, kinds)
        if name is not None and len(named) < count:
            named.setdefault(name, distribution)
    return list(named.items())


def takes_nonfinite(
    inputs: Sequence[Any], facts: Mapping[int, Facts], fixed: Mapping[int, str], ranges: Sequence[Range | None]
) -> bool:
    """Return whether some input may contain NaN and infinities: a floating one without a declared range and without a known order."""
    return any(i not in fixed and accepts_nonfinite(x, facts[i], ranges[i]) for i, x in enumerate(inputs))


def further(
    inputs: Sequence[Any], facts: Mapping[int, Facts], fixed: Mapping[int, str], ranges: Sequence[Range | None]
) -> list[Distribution]:
    """Return the distributions of `FURTHER` that change some input; the arguments are as in `redistribute`."""
    applies = (
        (ENDS, has_ends),
        (BEYOND, reaches_beyond),
        (BELOW, is_free),
        (ZERO_ROWS, has_rows),
        (EMPTY_MASKS, is_mask),
    )
    return [
        d for d, does in applies if any(i not in fixed and does(x, facts[i], ranges[i]) for i, x in enumerate(inputs))
    ]


def changeable_constants(
    inputs: Sequence[Any], facts: Mapping[int, Facts], fixed: Mapping[int, str], ranges: Sequence[Range | None]
) -> frozenset[int]:
    """Return the indices of floating inputs that are the same in every draw and may have other values.

    Args:
        inputs: A draw of the inputs.
        facts: The facts of each tensor, by the index of the input.
        fixed: The inputs that stay as drawn because of their dtype or their relations.
        ranges: The declared range of each input.
    """
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


def kind_of(x: torch.Tensor, facts: Facts) -> str:
    """Return the kind of an input's values, which may be integers or booleans in a floating dtype."""
    if facts.binary:
        return "boolean"
    return "integer" if facts.discrete or not x.is_floating_point() else "float"


def _name(distribution: Distribution, kinds: set[str]) -> str | None:
    parts = {"float": distribution.floats, "integer": distribution.integers, "boolean": distribution.booleans}
    names = [name for kind, name in parts.items() if kind in kinds and name is not None]
    return names[0] if names else None


def is_free(x: Any, facts: Facts, declared: Range | None) -> bool:
    """Return whether an input holds floats without a declared range, a known order or a known sum."""
    if not isinstance(x, torch.Tensor) or kind_of(x, facts) != "float" or declared is not None:
        return False
    return not facts.ascending and not facts.descending and not facts.sums_to_one


def accepts_nonfinite(x: Any, facts: Facts, declared: Range | None) -> bool:
    """Return whether an input may contain NaN and infinities."""
    return is_free(x, facts, declared) and not facts.square and x.numel() >= _LEAST_NONFINITE


def reaches_beyond(x: Any, facts: Facts, declared: Range | None) -> bool:
    """Return whether an input may leave its drawn range, which is restricted but not declared."""
    return is_free(x, facts, declared) and (facts.low is not None or facts.high is not None)


def has_ends(x: Any, facts: Facts, declared: Range | None) -> bool:
    """Return whether the drawn range of an input ends near integers, which it may then contain."""
    return is_free(x, facts, declared) and bool(round_ends(facts))


def round_ends(facts: Facts) -> list[float]:
    """Return the integers that the ends of the drawn range are close to, such as 0 and 1 for `torch.rand`."""
    span = (facts.high or 0.0) - (facts.low or 0.0)
    ends = [end for end in (facts.low, facts.high) if end is not None]
    return [float(round(end)) for end in ends if abs(end - round(end)) <= _NEAR_END * max(span, 1.0)]


def has_rows(x: Any, facts: Facts, declared: Range | None) -> bool:
    """Return whether rows of an input may be zero."""
    zero = facts.low is None or facts.low <= 0 or 0.0 in round_ends(facts)
    return zero and is_free(x, facts, declared) and x.dim() > 1


def is_mask(x: Any, facts: Facts, declared: Range | None) -> bool:
    """Return whether an input is a mask with rows that may be empty."""
    return isinstance(x, torch.Tensor) and facts.binary and declared is None and not facts.one_hot and x.dim() > 1
