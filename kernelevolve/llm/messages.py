"""Requests and completions, independent of the protocol."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from functools import cached_property
from typing import Any, Self

from pydantic import Field, model_validator

from kernelevolve.core.record import Record, content_id


class Role(StrEnum):
    """The author of a message."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class ToolCall(Record):
    """A call of a tool that a model requests."""

    id: str = Field(min_length=1)
    name: str
    arguments: str
    """The arguments as the model wrote them: JSON if it made no mistake."""


class Message(Record):
    """One message of a conversation."""

    role: Role
    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    """The tool calls of an assistant's message."""
    answers: str | None = None
    """The id of the call that a tool's message answers."""
    sealed: tuple[str, ...] = ()
    """The encrypted reasoning of an assistant, as JSON items that only the endpoint can read. They are sent back with
    the message.
    """

    @model_validator(mode="after")
    def _fits_its_role(self) -> Self:
        if (self.role is Role.TOOL) != (self.answers is not None):
            raise ValueError("a tool's message answers a call, and no other does")
        if (self.calls or self.sealed) and self.role is not Role.ASSISTANT:
            raise ValueError("only an assistant calls tools, or thinks")
        return self


class Tool(Record):
    """A tool that a model may call."""

    name: str = Field(pattern=r"^[a-zA-Z_][\w-]{0,63}$")
    description: str
    parameters: Mapping[str, Any]
    """A JSON schema of an object."""


class Sampling(Record):
    """The sampling parameters of a completion."""

    temperature: float | None = Field(default=None, ge=0, le=2)
    """The temperature. None: the endpoint's default, which is the only value that some models accept."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    """The probability mass of nucleus sampling; None: the endpoint's default."""
    max_tokens: int = Field(default=8192, ge=1)
    """The maximum number of tokens of the answer, its reasoning included."""
    seed: int | None = Field(default=None, ge=0)
    """The seed, for endpoints that accept one. It also distinguishes repeated requests in a recording."""


class Request(Record):
    """A request for one completion."""

    messages: tuple[Message, ...] = Field(min_length=1)
    tools: tuple[Tool, ...] = ()
    sampling: Sampling = Sampling()

    @cached_property
    def text(self) -> str:
        """The content as JSON."""
        return self.model_dump_json()

    @cached_property
    def key(self) -> str:
        """The hash of the content. Requests with the same key are the same."""
        return content_id(self.text)


class Finish(StrEnum):
    """The reason why an answer ends."""

    STOP = "stop"
    LENGTH = "length"
    """The answer was cut off by `max_tokens` or by the end of the model's context."""
    CALLS = "calls"
    """The model called tools."""
    REFUSED = "refused"
    """The model or a filter refused to answer."""


class Tokens(Record):
    """The token counts of an exchange."""

    read: int = Field(default=0, ge=0)
    """The number of tokens read."""
    cached: int = Field(default=0, ge=0)
    """The number of tokens read that came from a prefix cache."""
    written: int = Field(default=0, ge=0)
    """The number of tokens written, reasoning included."""
    estimated: bool = False
    """Whether the counts are estimated from the lengths of the texts because the endpoint did not report them."""

    @model_validator(mode="after")
    def _cached_is_a_part(self) -> Self:
        if self.cached > self.read:
            raise ValueError(f"{self.cached} of {self.read} tokens cannot be cached")
        return self

    @property
    def total(self) -> int:
        """The number of tokens read and written."""
        return self.read + self.written

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(
            read=self.read + other.read,
            cached=self.cached + other.cached,
            written=self.written + other.written,
            estimated=self.estimated or other.estimated,
        )


class Completion(Record):
    """An answer of a model."""

    message: Message
    finish: Finish
    """The reason why the answer ends."""
    tokens: Tokens
    model: str
    """The name of the model as the endpoint reports it."""
    reasoning: str = ""
    """The reasoning, if the endpoint shows it separately."""

    @model_validator(mode="after")
    def _an_assistant_speaks(self) -> Self:
        if self.message.role is not Role.ASSISTANT:
            raise ValueError("a completion is an assistant's message")
        return self
