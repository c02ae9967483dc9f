"""The tokens and the cost of models."""

from __future__ import annotations

from pydantic import Field

from kernelevolve.core.record import Record


class Usage(Record):
    """The usage of models; zero if none was asked."""

    tokens: int = Field(default=0, ge=0)
    """The number of tokens read and written."""
    cost: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """The cost in US dollars by the price table."""

    def __add__(self, other: Usage) -> Usage:
        return Usage(tokens=self.tokens + other.tokens, cost=self.cost + other.cost)
