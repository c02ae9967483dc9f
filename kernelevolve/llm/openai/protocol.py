"""The interface of the two forms of the protocol: encoding requests and decoding replies."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from kernelevolve.llm.lengths import tokens_of, tokens_of_request
from kernelevolve.llm.messages import Completion, Message, Request, Tokens


class Reply(BaseModel):
    """A part of a reply. Unknown fields are ignored; values of a wrong type raise ValidationError."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="ignore", frozen=True, protected_namespaces=())


class NoAnswerError(ValueError):
    """A well-formed reply without an answer."""


class Protocol(ABC):
    """One form of the protocol."""

    path: ClassVar[str]
    """The path below the base URL."""

    @abstractmethod
    def encode(self, request: Request, model: str) -> dict[str, Any]:
        """Return the body of a request."""

    @abstractmethod
    def decode(self, body: Mapping[str, Any], request: Request) -> Completion:
        """Return the completion that a reply holds.

        Raises:
            ValidationError: A value has a wrong type.
            NoAnswerError: There is no answer.
        """

    @abstractmethod
    def stream(self) -> Stream:
        """Return an assembler of streamed replies."""


class Stream(ABC):
    """Assembles one streamed reply."""

    @abstractmethod
    def add(self, event: Mapping[str, Any]) -> None:
        """Add the next event. Raises ValidationError for a value of a wrong type."""

    @abstractmethod
    def body(self) -> Mapping[str, Any]:
        """Return the body of the equivalent reply without streaming. Raises NoAnswerError if the stream broke off."""


def estimated(request: Request, message: Message, reasoning: str) -> Tokens:
    """Return estimated token counts, for endpoints that report none."""
    written = tokens_of(message.text + reasoning + "".join(call.arguments for call in message.calls))
    return Tokens(read=tokens_of_request(request), written=written, estimated=True)
