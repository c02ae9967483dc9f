"""The two forms of the protocol, as one seam: what a request looks like, what a reply says."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from kernelevolve.llm.lengths import tokens_of, tokens_of_request
from kernelevolve.llm.messages import Completion, Message, Request, Tokens


class Reply(BaseModel):
    """A part of a reply, as far as we read it. What it says besides is not ours; what is of the wrong type raises ValidationError."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="ignore", frozen=True, protected_namespaces=())


class NoAnswerError(ValueError):
    """A reply of the right form that holds no answer."""


class Protocol(ABC):
    """How one of the forms says what is asked and what was answered."""

    path: ClassVar[str]
    """Below the base URL."""

    @abstractmethod
    def encode(self, request: Request, model: str) -> dict[str, Any]:
        """The body of the request."""

    @abstractmethod
    def decode(self, body: Mapping[str, Any], request: Request) -> Completion:
        """Raises ValidationError for wrong types, NoAnswerError where there is no answer."""

    @abstractmethod
    def stream(self) -> Stream:
        """What puts the parts of a streamed reply together."""


class Stream(ABC):
    """Of one reply."""

    @abstractmethod
    def add(self, event: Mapping[str, Any]) -> None:
        """The next part. Raises ValidationError for wrong types."""

    @abstractmethod
    def body(self) -> Mapping[str, Any]:
        """The reply as if it had come in one piece. Raises NoAnswerError where it was broken off."""


def estimated(request: Request, message: Message, reasoning: str) -> Tokens:
    """Where an endpoint does not tell."""
    written = tokens_of(message.text + reasoning + "".join(call.arguments for call in message.calls))
    return Tokens(read=tokens_of_request(request), written=written, estimated=True)
