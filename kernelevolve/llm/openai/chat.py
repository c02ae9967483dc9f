"""The chat completions API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from kernelevolve.llm.messages import Completion, Finish, Message, Request, Role, Tokens, ToolCall
from kernelevolve.llm.openai.protocol import NoAnswerError, Protocol, Reply, Stream, estimated

_FINISHES = {
    "stop": Finish.STOP,
    "length": Finish.LENGTH,
    "tool_calls": Finish.CALLS,
    "function_call": Finish.CALLS,
    "content_filter": Finish.REFUSED,
}


class _Function(Reply):
    name: str | None = None
    arguments: str | None = None


class _Call(Reply):
    index: int | None = None
    id: str | None = None
    function: _Function = _Function()


class _Part(Reply):
    type: str = "text"
    text: str | None = None


class _Message(Reply):
    """A message, or the part of one that a chunk of a stream adds."""

    content: str | list[_Part] | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_Call] | None = None

    @property
    def text(self) -> str:
        if isinstance(self.content, list):
            return "".join(part.text or "" for part in self.content)
        return self.content or ""

    @property
    def thought(self) -> str:
        return self.reasoning_content or self.reasoning or ""


class _Choice(Reply):
    index: int = 0
    message: _Message | None = None
    delta: _Message | None = None
    finish_reason: str | None = None


class _Details(Reply):
    cached_tokens: int | None = None


class _Usage(Reply):
    prompt_tokens: int = 0
    completion_tokens: int | None = 0
    prompt_tokens_details: _Details | None = None

    def tokens(self) -> Tokens:
        details = self.prompt_tokens_details
        cached = (details.cached_tokens or 0) if details else 0
        return Tokens(
            read=self.prompt_tokens, cached=min(cached, self.prompt_tokens), written=self.completion_tokens or 0
        )


class _Body(Reply):
    model: str = ""
    choices: list[_Choice]
    usage: _Usage | None = None


class Chat(Protocol):
    """`POST /chat/completions`."""

    path: ClassVar[str] = "/chat/completions"

    def __init__(self, limit_field: str) -> None:
        """Create the protocol. `limit_field` is the field that limits the tokens of an answer."""
        self._limit_field = limit_field

    def encode(self, request: Request, model: str) -> dict[str, Any]:
        sampling = request.sampling
        body: dict[str, Any] = {
            "model": model,
            "messages": [_encoded(message) for message in request.messages],
            self._limit_field: sampling.max_tokens,
        }
        named = {"temperature": sampling.temperature, "top_p": sampling.top_p, "seed": sampling.seed}
        body |= {key: value for key, value in named.items() if value is not None}
        if request.tools:
            body["tools"] = [{"type": "function", "function": tool.model_dump()} for tool in request.tools]
        return body

    def decode(self, body: Mapping[str, Any], request: Request) -> Completion:
        found = _Body.model_validate(body)
        if not found.choices or found.choices[0].message is None:
            raise NoAnswerError("no choices")
        choice, raw_message = found.choices[0], found.choices[0].message
        calls = tuple(
            ToolCall(id=call.id or f"call_{i}", name=call.function.name or "", arguments=call.function.arguments or "")
            for i, call in enumerate(raw_message.tool_calls or ())
        )
        message = Message(role=Role.ASSISTANT, text=raw_message.refusal or raw_message.text, calls=calls)
        finish = _FINISHES.get(choice.finish_reason or "stop", Finish.STOP)
        if raw_message.refusal:
            finish = Finish.REFUSED
        elif calls and finish is Finish.STOP:
            finish = Finish.CALLS
        tokens = found.usage.tokens() if found.usage else estimated(request, message, raw_message.thought)
        return Completion(
            message=message, finish=finish, tokens=tokens, model=found.model, reasoning=raw_message.thought
        )

    def stream(self) -> Stream:
        return _ChatStream()


def _encoded(message: Message) -> dict[str, Any]:
    encoded: dict[str, Any] = {"role": message.role.value, "content": message.text}
    if message.calls:
        encoded["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.calls
        ]
    if message.answers is not None:
        encoded["tool_call_id"] = message.answers
    return encoded


class _ChatStream(Stream):
    def __init__(self) -> None:
        self._text: list[str] = []
        self._thought: list[str] = []
        self._refusal: list[str] = []
        self._calls: dict[int, dict[str, str]] = {}
        self._finish: str | None = None
        self._usage: dict[str, Any] | None = None
        self._model = ""

    def add(self, event: Mapping[str, Any]) -> None:
        chunk = _Body.model_validate({"choices": [], **event})
        self._model = chunk.model or self._model
        if chunk.usage is not None:
            self._usage = chunk.usage.model_dump()
        for choice in chunk.choices[:1]:
            self._finish = choice.finish_reason or self._finish
            delta = choice.delta
            if delta is None or choice.index:
                continue
            self._text.append(delta.text)
            self._thought.append(delta.thought)
            self._refusal.append(delta.refusal or "")
            for call in delta.tool_calls or ():
                place = len(self._calls) if call.index is None else call.index
                held = self._calls.setdefault(place, {"id": "", "name": "", "arguments": ""})
                held["id"] = call.id or held["id"]
                held["name"] += call.function.name or ""
                held["arguments"] += call.function.arguments or ""

    def body(self) -> Mapping[str, Any]:
        if self._finish is None:
            raise NoAnswerError("the stream broke off")
        calls = [
            {"id": call["id"] or None, "function": {"name": call["name"], "arguments": call["arguments"]}}
            for _, call in sorted(self._calls.items())
        ]
        raw_message = {
            "content": "".join(self._text),
            "refusal": "".join(self._refusal) or None,
            "reasoning_content": "".join(self._thought) or None,
            "tool_calls": calls or None,
        }
        choice = {"message": raw_message, "finish_reason": self._finish}
        return {"model": self._model, "choices": [choice], "usage": self._usage}
