"""The responses API."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from kernelevolve.llm.messages import Completion, Finish, Message, Request, Role, Tokens, ToolCall
from kernelevolve.llm.openai.protocol import NoAnswerError, Protocol, Reply, Stream, estimated

_FINAL = ("response.completed", "response.incomplete", "response.failed")


class _Content(Reply):
    type: str
    text: str | None = None
    refusal: str | None = None


class _Item(Reply):
    type: str
    content: list[_Content] | None = None
    summary: list[_Content] | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    encrypted_content: str | None = None


class _Incomplete(Reply):
    reason: str | None = None


class _Failure(Reply):
    code: str | None = None
    message: str | None = None


class _Details(Reply):
    cached_tokens: int | None = None


class _Usage(Reply):
    input_tokens: int = 0
    output_tokens: int = 0
    input_tokens_details: _Details | None = None

    def tokens(self) -> Tokens:
        details = self.input_tokens_details
        cached = (details.cached_tokens or 0) if details else 0
        return Tokens(read=self.input_tokens, cached=min(cached, self.input_tokens), written=self.output_tokens)


class _Body(Reply):
    model: str = ""
    status: str = "completed"
    output: list[_Item]
    incomplete_details: _Incomplete | None = None
    error: _Failure | None = None
    usage: _Usage | None = None


class Responses(Protocol):
    """`POST /responses`, without storage at the endpoint."""

    path: ClassVar[str] = "/responses"

    def encode(self, request: Request, model: str) -> dict[str, Any]:
        sampling = request.sampling
        body: dict[str, Any] = {
            "model": model,
            "input": [item for message in request.messages for item in _encoded(message)],
            "max_output_tokens": sampling.max_tokens,
            "store": False,
        }
        named = {"temperature": sampling.temperature, "top_p": sampling.top_p}
        body |= {key: value for key, value in named.items() if value is not None}
        if request.tools:
            body["tools"] = [{"type": "function", **tool.model_dump()} for tool in request.tools]
        return body

    def decode(self, body: Mapping[str, Any], request: Request) -> Completion:
        found = _Body.model_validate(body)
        if found.status == "failed":
            raise NoAnswerError((found.error and found.error.message) or "the response failed")
        texts: list[str] = []
        refusals: list[str] = []
        thoughts: list[str] = []
        sealed: list[str] = []
        calls: list[ToolCall] = []
        for item, raw in zip(found.output, body["output"], strict=True):
            if item.type == "message":
                texts += [part.text or "" for part in item.content or () if part.type == "output_text"]
                refusals += [part.refusal or "" for part in item.content or () if part.type == "refusal"]
            elif item.type == "reasoning":
                thoughts += [part.text or "" for part in (*(item.summary or ()), *(item.content or ()))]
                sealed += [json.dumps(raw)] if item.encrypted_content else []
            elif item.type == "function_call":
                calls.append(
                    ToolCall(
                        id=item.call_id or f"call_{len(calls)}", name=item.name or "", arguments=item.arguments or ""
                    )
                )
        reason = found.incomplete_details.reason if found.incomplete_details else None
        if not (texts or refusals or calls or reason):
            raise NoAnswerError("no output")
        text = "".join(refusals) if refusals else "".join(texts)
        message = Message(role=Role.ASSISTANT, text=text, calls=tuple(calls), sealed=tuple(sealed))
        thought = "\n".join(thoughts)
        return Completion(
            message=message,
            finish=_finish(reason, refused=bool(refusals), called=bool(calls)),
            tokens=found.usage.tokens() if found.usage else estimated(request, message, thought),
            model=found.model,
            reasoning=thought,
        )

    def stream(self) -> Stream:
        return _ResponsesStream()


def _finish(reason: str | None, *, refused: bool, called: bool) -> Finish:
    if refused or reason == "content_filter":
        return Finish.REFUSED
    if reason is not None:
        return Finish.LENGTH
    return Finish.CALLS if called else Finish.STOP


def _encoded(message: Message) -> list[dict[str, Any]]:
    if message.role is Role.TOOL:
        return [{"type": "function_call_output", "call_id": message.answers, "output": message.text}]
    items: list[dict[str, Any]] = [json.loads(item) for item in message.sealed]
    if message.text or not message.calls:
        items.append({"role": message.role.value, "content": message.text})
    items += [
        {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": call.arguments}
        for call in message.calls
    ]
    return items


class _Event(Reply):
    type: str = ""
    response: dict[str, Any] | None = None


class _ResponsesStream(Stream):
    """Assembles a streamed reply. The last event holds the whole reply."""

    def __init__(self) -> None:
        self._body: Mapping[str, Any] | None = None

    def add(self, event: Mapping[str, Any]) -> None:
        found = _Event.model_validate(event)
        if found.type in _FINAL:
            self._body = found.response

    def body(self) -> Mapping[str, Any]:
        if self._body is None:
            raise NoAnswerError("the stream broke off")
        return self._body
