"""An endpoint that speaks OpenAI's protocol over real HTTP, and misbehaves on request. It is a script, not a model."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

from tests.keys import KEY


@dataclass(frozen=True)
class Answer:
    """What it should have said."""

    text: str | None = "hello"
    calls: Sequence[tuple[str, str]] = ()
    """(name of a tool, arguments)"""
    finish: str = "stop"
    refusal: str | None = None
    usage: Mapping[str, Any] | None = field(default_factory=lambda: {"prompt_tokens": 10, "completion_tokens": 5})
    reasoning: str | None = None
    wait: float = 0.0
    """Seconds before it says anything."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the body in place of those it would have."""


@dataclass(frozen=True)
class Fault:
    """Another status, or a body as it stands."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    kind: str = "application/json"
    drop_after: int | None = None
    """Bytes after which the connection breaks."""
    wait: float = 0.0


Behaviour = Answer | Fault


class Endpoint:
    """A context manager. `behave` is told the body of each request, and the number of requests before it."""

    def __init__(
        self,
        behave: Callable[[Mapping[str, Any], int], Behaviour] | Sequence[Behaviour] = (),
        models: Sequence[str] = ("tiny",),
    ) -> None:
        """A sequence is behaved one after the other, the last one for good."""
        self._behave = behave
        self.models: Sequence[str] | None = models
        """In its list; None: it has no list."""
        self.requests: list[Mapping[str, Any]] = []
        self.keys: list[str | None] = []
        self.paths: list[str] = []
        self.answered = 0
        self.called_off = 0
        self.in_flight = 0
        self.key: str | None = KEY
        """That it wants."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._runner: web.AppRunner | None = None
        self.url = ""

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._runner is not None
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(20)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _start(self) -> None:
        app = web.Application(client_max_size=1 << 28)
        app.router.add_get("/v1/models", self._list)
        app.router.add_post("/v1/chat/completions", self._post)
        app.router.add_post("/v1/responses", self._post)
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}/v1"

    async def _list(self, request: web.Request) -> web.Response:
        if self.key is not None and request.headers.get("Authorization") != f"Bearer {self.key}":
            return web.json_response(
                {"error": {"message": "Incorrect API key provided", "code": "invalid_api_key"}}, status=401
            )
        if self.models is None:
            return web.json_response({"detail": "Not Found"}, status=404)
        return web.json_response({"object": "list", "data": [{"id": name} for name in self.models]})

    async def _post(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        number = len(self.requests)
        self.requests.append(body)
        self.keys.append(request.headers.get("Authorization"))
        self.paths.append(request.path)
        behaviour = (
            self._behave(body, number) if callable(self._behave) else self._behave[min(number, len(self._behave) - 1)]
        )
        self.in_flight += 1
        try:
            await asyncio.sleep(behaviour.wait)
            if isinstance(behaviour, Fault):
                return await self._faulty(request, behaviour)
            self.answered += 1
            whole = chat_body(behaviour) if request.path.endswith("completions") else responses_body(behaviour)
            if body.get("stream"):
                return await self._streamed(request, behaviour, whole)
            return web.json_response(whole)
        except asyncio.CancelledError:
            self.called_off += 1
            raise
        finally:
            self.in_flight -= 1

    async def _faulty(self, request: web.Request, fault: Fault) -> web.StreamResponse:
        data = fault.body.encode()
        if fault.drop_after is None:
            return web.Response(status=fault.status, headers=fault.headers, body=data, content_type=fault.kind)
        response = web.StreamResponse(status=fault.status, headers={**fault.headers, "Content-Type": fault.kind})
        response.content_length = len(data) if "event-stream" not in fault.kind else None
        await response.prepare(request)
        await response.write(data[: fault.drop_after])
        assert request.transport is not None
        request.transport.abort()
        return response

    async def _streamed(self, request: web.Request, answer: Answer, whole: Mapping[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for event in chat_events(answer) if request.path.endswith("completions") else responses_events(whole):
            data = f"data: {json.dumps(event)}\n\n".encode()
            await response.write(data[:7])  # Events are cut where the network likes.
            await response.write(data[7:])
        await response.write(b"data: [DONE]\n\n")
        return response


def chat_body(answer: Answer) -> dict[str, Any]:
    """Of `/chat/completions`."""
    message: dict[str, Any] = {"role": "assistant", "content": answer.text}
    if answer.refusal:
        message["refusal"] = answer.refusal
    if answer.reasoning:
        message["reasoning_content"] = answer.reasoning
    if answer.calls:
        message["tool_calls"] = [
            {"id": f"c{i}", "type": "function", "function": {"name": name, "arguments": arguments}}
            for i, (name, arguments) in enumerate(answer.calls)
        ]
    return {
        "id": "x",
        "object": "chat.completion",
        "model": "tiny-2026",
        "choices": [{"index": 0, "message": message, "finish_reason": answer.finish}],
        "usage": answer.usage,
        **answer.more,
    }


def chat_events(answer: Answer) -> list[dict[str, Any]]:
    """The same in parts: every text in two."""

    def chunk(delta: Mapping[str, Any], finish: str | None = None) -> dict[str, Any]:
        return {"model": "tiny-2026", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}

    text = answer.text or ""
    found = [chunk({"role": "assistant", "content": None})]
    if answer.reasoning:
        found.append(chunk({"reasoning_content": answer.reasoning}))
    found += [chunk({"content": part}) for part in (text[: len(text) // 2], text[len(text) // 2 :])]
    for i, (name, arguments) in enumerate(answer.calls):
        found.append(chunk({"tool_calls": [{"index": i, "id": f"c{i}", "function": {"name": name, "arguments": ""}}]}))
        found += [chunk({"tool_calls": [{"index": i, "function": {"arguments": c}}]}) for c in arguments]
    found.append(chunk({}, answer.finish))
    found.append({"model": "tiny-2026", "choices": [], "usage": answer.usage})
    return found


def responses_body(answer: Answer) -> dict[str, Any]:
    """Of `/responses`."""
    output: list[dict[str, Any]] = []
    if answer.reasoning:
        output.append({"type": "reasoning", "summary": [{"type": "summary_text", "text": answer.reasoning}]})
    if answer.refusal:
        output.append({"type": "message", "content": [{"type": "refusal", "refusal": answer.refusal}]})
    elif answer.text is not None:
        output.append({"type": "message", "content": [{"type": "output_text", "text": answer.text}]})
    output += [
        {"type": "function_call", "call_id": f"c{i}", "name": name, "arguments": arguments}
        for i, (name, arguments) in enumerate(answer.calls)
    ]
    reasons = {"length": "max_output_tokens", "content_filter": "content_filter"}
    usage = answer.usage and {
        "input_tokens": answer.usage["prompt_tokens"],
        "output_tokens": answer.usage["completion_tokens"],
    }
    return {
        "id": "x",
        "object": "response",
        "model": "tiny-2026",
        "status": "incomplete" if answer.finish in reasons else "completed",
        "incomplete_details": {"reason": reasons[answer.finish]} if answer.finish in reasons else None,
        "output": output,
        "usage": usage,
        **answer.more,
    }


def responses_events(whole: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The same as a stream has it."""
    kind = f"response.{whole['status']}"
    return [
        {"type": "response.created", "response": {**whole, "output": []}},
        {"type": "response.output_text.delta", "delta": "he"},
        {"type": kind, "response": dict(whole)},
    ]
