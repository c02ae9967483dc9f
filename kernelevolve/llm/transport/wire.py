"""The messages between clients and the model actor, in JSON, so that neither end executes what the other sends."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from kernelevolve.core.errors import UserError
from kernelevolve.core.record import Record
from kernelevolve.llm.errors import (
    BudgetExceededError,
    LimitedError,
    MissingExchangeError,
    ModelError,
    RefusedError,
    TooLongError,
    TransientError,
    UnknownRunError,
)
from kernelevolve.llm.exchange import Exchange
from kernelevolve.llm.messages import Request

ERRORS: tuple[type[Exception], ...] = (
    LimitedError,
    MissingExchangeError,
    ModelError,
    BudgetExceededError,
    RefusedError,
    TooLongError,
    TransientError,
    UnknownRunError,
    UserError,
)
"""The errors that are raised at the client as they were raised in the actor."""
_BY_NAME = {kind.__name__: kind for kind in ERRORS}


class Address(Record):
    """The address of the server, and the token that it requires."""

    url: str
    token: str = Field(min_length=32, repr=False)

    @classmethod
    def at(cls, host: str, port: int, path: str, token: str) -> Address:
        """Return the address of a host, IPv4 or IPv6."""
        return cls(url=f"http://{f'[{host}]' if ':' in host else host}:{port}{path}", token=token)


class Question(Record):
    """One request of one run."""

    folder: Path
    """The folder of the run."""
    model: str
    request: Request
    purpose: str
    """The id of the node that the request is for."""


class Call(Record):
    """A message to the actor."""

    id: int
    """A number that the caller assigns. The reply carries it."""
    question: Question | None
    """The question; None cancels the call of this id."""


class Failure(Record):
    """An error in transit."""

    kind: str
    arguments: tuple[str | int | float | None, ...]

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Encode one of the `ERRORS` as it is, and any other error as a bug with its message."""
        if type(error) in ERRORS:
            return cls(kind=type(error).__name__, arguments=error.args)
        return cls(kind="bug", arguments=(f"{type(error).__name__}: {error}",))

    def error(self) -> Exception:
        """Return the error as it was raised, or a RuntimeError for a bug."""
        kind = _BY_NAME.get(self.kind)
        return kind(*self.arguments) if kind else RuntimeError(f"the model actor failed: {self.arguments[0]}")


class Reply(Record):
    """A message from the actor."""

    id: int
    exchange: Exchange | None = None
    failure: Failure | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.exchange is None) == (self.failure is None):
            raise ValueError("a reply is either an exchange or a failure")
        return self
