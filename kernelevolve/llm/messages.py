"""What is asked of a model and what it answers, whichever protocol carries it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from functools import cached_property
from typing import Any, Self

from pydantic import Field, model_validator

from kernelevolve.core.record import Record, content_id


class Role(StrEnum):
    """Who says a message."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class ToolCall(Record):
    """A model's wish to have a tool run."""

    id: str = Field(min_length=1)
    name: str
    arguments: str
    """As the model wrote them: JSON if it did well."""


class Message(Record):
    """One turn of a conversation."""

    role: Role
    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    """Of an assistant."""
    answers: str | None = None
    """Id of the call that a tool's message answers."""
    sealed: tuple[str, ...] = ()
    """What an assistant thought, as items in JSON that the endpoint alone can read: they go back to it with the message."""

    @model_validator(mode="after")
    def _fits_its_role(self) -> Self:
        if (self.role is Role.TOOL) != (self.answers is not None):
            raise ValueError("a tool's message answers a call, and no other does")
        if (self.calls or self.sealed) and self.role is not Role.ASSISTANT:
            raise ValueError("only an assistant calls tools, or thinks")
        return self


class Tool(Record):
    """That a model may call."""

    name: str = Field(pattern=r"^[a-zA-Z_][\w-]{0,63}$")
    description: str
    parameters: Mapping[str, Any]
    """A JSON schema of an object."""


class Sampling(Record):
    """How an answer is drawn."""

    temperature: float | None = Field(default=None, ge=0, le=2)
    """None: the endpoint's own default, the only one that some models take."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    most_tokens: int = Field(default=8192, ge=1)
    """That the answer may have, its reasoning included."""
    seed: int | None = Field(default=None, ge=0)
    """Told to endpoints that take one; tells repeated requests apart in a recording in any case."""


class Request(Record):
    """One completion."""

    messages: tuple[Message, ...] = Field(min_length=1)
    tools: tuple[Tool, ...] = ()
    sampling: Sampling = Sampling()

    @cached_property
    def text(self) -> str:
        """The content, as JSON."""
        return self.model_dump_json()

    @cached_property
    def key(self) -> str:
        """The hash of the content: requests with the same key are the same."""
        return content_id(self.text)


class Finish(StrEnum):
    """Why an answer ends."""

    STOP = "stop"
    LENGTH = "length"
    """It is cut off: by `most_tokens`, or by the end of the model's context."""
    CALLS = "calls"
    REFUSED = "refused"
    """By the model or by a filter."""


class Tokens(Record):
    """Of one exchange."""

    read: int = Field(default=0, ge=0)
    cached: int = Field(default=0, ge=0)
    """Of those read, that a cache of prefixes had."""
    written: int = Field(default=0, ge=0)
    """Those of reasoning included."""
    estimated: bool = False
    """By the lengths of the texts, since the endpoint did not tell."""

    @model_validator(mode="after")
    def _cached_is_a_part(self) -> Self:
        if self.cached > self.read:
            raise ValueError(f"{self.cached} of {self.read} tokens cannot be cached")
        return self

    @property
    def total(self) -> int:
        return self.read + self.written

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(
            read=self.read + other.read,
            cached=self.cached + other.cached,
            written=self.written + other.written,
            estimated=self.estimated or other.estimated,
        )


class Completion(Record):
    """A model's answer."""

    message: Message
    finish: Finish
    tokens: Tokens
    model: str
    """As the endpoint names what answered."""
    reasoning: str = ""
    """What it thought, where the endpoint shows that apart."""

    @model_validator(mode="after")
    def _an_assistant_speaks(self) -> Self:
        if self.message.role is not Role.ASSISTANT:
            raise ValueError("a completion is an assistant's message")
        return self
