"""What goes between those who ask models and the actor that does: JSON, so that neither end runs what the other sends."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from kernelevolve.core.errors import UserError
from kernelevolve.core.record import Record
from kernelevolve.llm.errors import (
    LimitedError,
    MissingExchangeError,
    ModelError,
    OverspentError,
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
    OverspentError,
    RefusedError,
    TooLongError,
    TransientError,
    UnknownRunError,
    UserError,
)
"""That arrive as they were raised."""
_BY_NAME = {kind.__name__: kind for kind in ERRORS}


class Address(Record):
    """Where the actor listens, and what it wants to be shown."""

    url: str
    token: str = Field(min_length=32, repr=False)

    @classmethod
    def at(cls, host: str, port: int, path: str, token: str) -> Address:
        """`host`: of either version of IP."""
        return cls(url=f"http://{f'[{host}]' if ':' in host else host}:{port}{path}", token=token)


class Question(Record):
    """One request of one run."""

    folder: Path
    """The run's."""
    model: str
    request: Request
    purpose: str


class Call(Record):
    """To the actor."""

    id: int
    """Of the caller's own; the reply bears it."""
    question: Question | None
    """None: the call of this id is called off."""


class Failure(Record):
    """An error on its way."""

    kind: str
    arguments: tuple[str | int | float | None, ...]

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Of an error that is of one of the `ERRORS`, as it is; of any other as a bug, in words."""
        if type(error) in ERRORS:
            return cls(kind=type(error).__name__, arguments=error.args)
        return cls(kind="bug", arguments=(f"{type(error).__name__}: {error}",))

    def error(self) -> Exception:
        """As it was raised; RuntimeError for a bug."""
        kind = _BY_NAME.get(self.kind)
        return kind(*self.arguments) if kind else RuntimeError(f"the model actor failed: {self.arguments[0]}")


class Reply(Record):
    """From the actor."""

    id: int
    exchange: Exchange | None = None
    failure: Failure | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.exchange is None) == (self.failure is None):
            raise ValueError("a reply is either an exchange or a failure")
        return self
