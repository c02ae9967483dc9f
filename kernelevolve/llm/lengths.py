"""Estimates of token counts from the number of bytes, without the model's tokenizer.

They are high for source code and English.
"""

from __future__ import annotations

from kernelevolve.llm.messages import Message, Request

_BYTES_PER_TOKEN = 3.0
"""The bytes per token. Current tokenizers need 3.2 to 4.5 bytes of code per token."""
_OF_MESSAGE = 8
"""The number of tokens that frame a message or a call."""


def tokens_of(text: str) -> int:
    """Return the estimated number of tokens of a text."""
    return -int(-len(text.encode()) // _BYTES_PER_TOKEN)


def tokens_of_message(message: Message) -> int:
    """Return the estimated number of tokens of a message, its tool calls included."""
    called = sum(_OF_MESSAGE + tokens_of(call.name + call.arguments) for call in message.calls)
    return _OF_MESSAGE + tokens_of(message.text) + called + sum(map(tokens_of, message.sealed))


def tokens_of_request(request: Request) -> int:
    """Return the estimated number of tokens that the model reads."""
    tools = sum(_OF_MESSAGE + tokens_of(tool.model_dump_json()) for tool in request.tools)
    return tools + sum(map(tokens_of_message, request.messages))
