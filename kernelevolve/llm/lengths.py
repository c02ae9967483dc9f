"""How many tokens a text is, without the model's own tokenizer: by its bytes, on the safe side for source code and English."""

from __future__ import annotations

from kernelevolve.llm.messages import Message, Request

_BYTES_PER_TOKEN = 3.0
"""Tokenizers of the last years make 3.2 to 4.5 bytes of code one token."""
_OF_MESSAGE = 8
"""Tokens that frame a message, or a call."""


def tokens_of(text: str) -> int:
    """At most so many, by estimate."""
    return -int(-len(text.encode()) // _BYTES_PER_TOKEN)


def tokens_of_message(message: Message) -> int:
    """Calls of tools included."""
    called = sum(_OF_MESSAGE + tokens_of(call.name + call.arguments) for call in message.calls)
    return _OF_MESSAGE + tokens_of(message.text) + called + sum(map(tokens_of, message.sealed))


def tokens_of_request(request: Request) -> int:
    """That the model reads."""
    tools = sum(_OF_MESSAGE + tokens_of(tool.model_dump_json()) for tool in request.tools)
    return tools + sum(map(tokens_of_message, request.messages))
