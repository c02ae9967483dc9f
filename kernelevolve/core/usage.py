"""What a model was asked to do for a draft."""

from __future__ import annotations

from pydantic import Field

from kernelevolve.core.record import Record


class Usage(Record):
    """Of models; nothing where none was asked."""

    tokens: int = Field(default=0, ge=0)
    """Read and written."""
    cost: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """In US dollars, by the price table."""

    def __add__(self, other: Usage) -> Usage:
        return Usage(tokens=self.tokens + other.tokens, cost=self.cost + other.cost)
