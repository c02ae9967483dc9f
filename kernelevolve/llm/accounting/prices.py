"""The cost of exchanges by a price list."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

from pydantic import Field

from kernelevolve.core.record import Record
from kernelevolve.llm.messages import Tokens

_MILLION = 1_000_000


class Price(Record):
    """Prices in US dollars per million tokens."""

    read: float = Field(ge=0, allow_inf_nan=False)
    written: float = Field(ge=0, allow_inf_nan=False)
    cached: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """The price of tokens read from a cache; None: the same as `read`."""

    def cost(self, tokens: Tokens) -> float:
        """Return the cost in US dollars."""
        cached = self.read if self.cached is None else self.cached
        fresh = tokens.read - tokens.cached
        return (fresh * self.read + tokens.cached * cached + tokens.written * self.written) / _MILLION


def price_of(model: str, prices: Mapping[str, Price]) -> Price | None:
    """Return the price of the longest pattern (`name*`) that matches the model's name, or None."""
    fitting = [pattern for pattern in prices if fnmatchcase(model, pattern)]
    return prices[max(fitting, key=len)] if fitting else None
