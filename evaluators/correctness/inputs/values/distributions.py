"""The distributions of values: large, tiny, tied, sorted, constant, with negative zeros, the ends of integer ranges.

Denormal numbers are not used, since a kernel may flush them to zero. Some distributions go further and are used only where the results of
the reference stay finite: `BEYOND` and `BELOW` leave a drawn range that is not declared, `ENDS` contains its ends, `ZERO_ROWS` and
`EMPTY_MASKS` make sums and counts zero that a model may divide by, and `OTHER_CONSTANTS` changes floating inputs that are the same in every
draw.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Distribution:
    """A distribution of values, by the name of what happens to each kind of input; None where the input stays as drawn."""

    floats: str | None
    """What happens to floating inputs."""
    integers: str | None = None
    """What happens to integer inputs."""
    booleans: str | None = None
    """What happens to boolean inputs."""
    ties: bool = False
    """Whether it makes equal values, whose order an unstable sort or a top-k may choose."""
    nonfinite: bool = False
    """Whether it contains NaN and infinities."""

    @property
    def name(self) -> str:
        """The first of the names."""
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
"""The usual distributions, in the order in which they are used."""
NONFINITE = Distribution("NaN and infinities", ties=True, nonfinite=True)
MANY_NONFINITE = Distribution("many NaN and infinities", ties=True, nonfinite=True)
BEYOND = Distribution("beyond the drawn range")
BELOW = Distribution("far below zero")
LITTLE_BELOW = Distribution("below zero")
"""Used instead of `BELOW` where the reference is not accurate far below zero."""
OTHER_CONSTANTS = Distribution("other constants")
ZERO_ROWS = Distribution("zeros in every other row", ties=True)
EMPTY_MASKS = Distribution(None, None, "every other row of masks empty", ties=True)
ENDS = Distribution("ends of the drawn range", ties=True)
FURTHER = (ENDS, BEYOND, BELOW, ZERO_ROWS, EMPTY_MASKS)
"""The distributions that are used only where the results of the reference stay finite."""
OUTSIDE = (BEYOND, BELOW, LITTLE_BELOW)
"""The distributions whose values leave the drawn range."""
