"""What exchanges cost, by a price list."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

from pydantic import Field

from kernelevolve.core.record import Record
from kernelevolve.llm.messages import Tokens

_MILLION = 1_000_000


class Price(Record):
    """In US dollars for a million tokens."""

    read: float = Field(ge=0, allow_inf_nan=False)
    written: float = Field(ge=0, allow_inf_nan=False)
    cached: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """Of those read that a cache had; None: as the others."""

    def cost(self, tokens: Tokens) -> float:
        """In US dollars."""
        cached = self.read if self.cached is None else self.cached
        fresh = tokens.read - tokens.cached
        return (fresh * self.read + tokens.cached * cached + tokens.written * self.written) / _MILLION


def price_of(model: str, prices: Mapping[str, Price]) -> Price | None:
    """By the longest of the patterns (`name*`) that the model's name fits; None where there is none."""
    fitting = [pattern for pattern in prices if fnmatchcase(model, pattern)]
    return prices[max(fitting, key=len)] if fitting else None
