"""The result of asking a model."""

from __future__ import annotations

from pydantic import Field

from kernelevolve.core.record import Record
from kernelevolve.core.usage import Usage
from kernelevolve.llm.messages import Completion


class Exchange(Record):
    """An answer of a model, with its costs."""

    model: str
    """The name by which the user selected the model."""
    completion: Completion
    cost: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """The cost in US dollars by the price list; 0 if the model has no price."""
    attempts: int = Field(ge=1)
    """The number of attempts."""
    seconds: float = Field(ge=0)
    """The seconds from the call to the answer, waiting included."""
    number: int | None = None
    """The number in the run's recording."""

    @property
    def usage(self) -> Usage:
        """The tokens and the cost."""
        return Usage(tokens=self.completion.tokens.total, cost=self.cost)
