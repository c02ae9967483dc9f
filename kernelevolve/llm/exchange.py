"""What came of asking a model."""

from __future__ import annotations

from pydantic import Field

from kernelevolve.core.record import Record
from kernelevolve.core.usage import Usage
from kernelevolve.llm.messages import Completion


class Exchange(Record):
    """An answer, with what it took."""

    model: str
    """The name by which the user chose it."""
    completion: Completion
    cost: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """In US dollars, by the price list; 0 where it has no price."""
    attempts: int = Field(ge=1)
    seconds: float = Field(ge=0)
    """From being asked to the answer, waiting included."""
    number: int | None = None
    """In the run's recording."""

    @property
    def usage(self) -> Usage:
        return Usage(tokens=self.completion.tokens.total, cost=self.cost)
