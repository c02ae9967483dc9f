"""The exchanges with a model that led to a node, verbatim."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Any

from kernelevolve.core.errors import UserError
from kernelevolve.core.graph import Node
from kernelevolve.llm.messages import Completion, Message, Request
from kernelevolve.llm.recording import FILE, Recording
from kernelevolve.report.folder import RunFolder

Said = tuple[str, Request, Completion]
"""One exchange: (model, request, completion)."""


def exchanges_of(folder: RunFolder, node: Node) -> list[Said]:
    """Return the exchanges for a node in their order.

    Raises:
        UserError: No model was asked for the node, or the recording lacks one of the exchanges.
    """
    if not node.exchanges:
        raise UserError(f"{node.id} was made without a model: {node.operator}")
    with closing(Recording(folder.path / FILE, write=False)) as recording:
        try:
            return [recording.exchange(number) for number in node.exchanges]
        except KeyError as error:
            raise UserError(f"{folder.path / FILE} lacks exchange {error} of {node.id}") from error


def to_json(exchanges: Sequence[Said]) -> list[dict[str, Any]]:
    """Return exchanges as plain data."""
    return [
        {"model": model, "request": request.model_dump(mode="json"), "completion": completion.model_dump(mode="json")}
        for model, request, completion in exchanges
    ]


def to_text(exchanges: Sequence[Said]) -> str:
    """Return exchanges as text for a terminal."""
    parts = []
    for number, (model, request, completion) in enumerate(exchanges, 1):
        tokens = completion.tokens
        head = (
            f"exchange {number} of {len(exchanges)} with {model}: {tokens.read} tokens read, {tokens.written} written"
        )
        parts.append(f"===== {head}, ended by {completion.finish.value}")
        parts += [_message_text(message) for message in request.messages]
        if completion.reasoning:
            parts.append(f"--- reasoning\n{completion.reasoning}")
        parts.append(_message_text(completion.message))
    return "\n".join(parts)


def _message_text(message: Message) -> str:
    calls = "".join(f"\n{call.name}({call.arguments})" for call in message.calls)
    return f"--- {message.role.value}\n{message.text}{calls}"
