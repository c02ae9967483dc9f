"""The protocol over real HTTP, well spoken and badly."""

from __future__ import annotations

import asyncio
import json
import time
from email.utils import formatdate
from typing import Any

import pytest

from kernelevolve.core.errors import UserError
from kernelevolve.llm.base import ModelBackend
from kernelevolve.llm.errors import LimitedError, ModelError, RefusedError, TooLongError, TransientError
from kernelevolve.llm.messages import Completion, Finish, Message, Request, Role, Sampling, Tokens, Tool, ToolCall
from tests.conformance.model_backend import ModelBackendConformance
from tests.endpoint import Answer, Behaviour, Endpoint, Fault, chat_body
from tests.keys import KEY, VARIABLE
from tests.llm.conftest import asked, backend

FORMS: list[Any] = [
    pytest.param({"api": api, "stream": stream}, id=f"{api}{', streamed' if stream else ''}")
    for api in ("chat", "responses")
    for stream in (False, True)
]


def generated(endpoint: Endpoint, request: Request | None = None, **changes: Any) -> Completion:
    async def generate() -> Completion:
        one = backend(endpoint, **changes)
        try:
            return await one.generate(request or asked())
        finally:
            await one.close()

    return asyncio.run(generate())


class TestConformance(ModelBackendConformance):
    @pytest.fixture(autouse=True)
    def endpoints(self) -> Any:
        with Endpoint([Answer()]) as good, Endpoint([Fault(503, body="down\nfor today")]) as bad:
            self.good, self.bad = good, bad
            yield

    def backend(self) -> ModelBackend:
        return backend(self.good)

    def failing(self) -> ModelBackend:
        return backend(self.bad)


@pytest.mark.parametrize("form", FORMS)
def test_what_was_said_arrives(form: dict[str, Any]) -> None:
    calls = [("read", '{"path": "a"}'), ("test", "{}")]
    said = Answer("some text", calls=calls, finish="tool_calls", reasoning="let me think")
    with Endpoint([said]) as endpoint:
        found = generated(endpoint, **form)
    assert found == Completion(
        message=Message(
            role=Role.ASSISTANT,
            text="some text",
            calls=tuple(ToolCall(id=f"c{i}", name=n, arguments=a) for i, (n, a) in enumerate(calls)),
        ),
        finish=Finish.CALLS,
        tokens=Tokens(read=10, written=5),
        model="tiny-2026",
        reasoning="let me think",
    )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("answer", "finish"),
    [
        (Answer(), Finish.STOP),
        (Answer(finish="length"), Finish.LENGTH),
        (Answer(finish="content_filter"), Finish.REFUSED),
    ],
)
def test_why_an_answer_ends(form: dict[str, Any], answer: Answer, finish: Finish) -> None:
    with Endpoint([answer]) as endpoint:
        assert generated(endpoint, **form).finish is finish


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_a_refusal_is_told_apart(api: str) -> None:
    with Endpoint([Answer(None, refusal="I would rather not")]) as endpoint:
        found = generated(endpoint, api=api)
    assert (found.finish, found.message.text) == (Finish.REFUSED, "I would rather not")


def test_what_is_asked_arrives_as_the_protocol_has_it() -> None:
    tool = Tool(name="read", description="reads", parameters={"type": "object", "properties": {}})
    call = ToolCall(id="c9", name="read", arguments="{}")
    turns = (
        Message(role=Role.SYSTEM, text="be brief"),
        Message(role=Role.USER, text="read it"),
        Message(role=Role.ASSISTANT, calls=(call,)),
        Message(role=Role.TOOL, text="here", answers="c9"),
    )
    request = Request(
        messages=turns, tools=(tool,), sampling=Sampling(temperature=0.5, top_p=0.9, max_tokens=77, seed=3)
    )
    with Endpoint([Answer()]) as endpoint:
        generated(endpoint, request, extra={"reasoning_effort": "low"})
        generated(endpoint, request, api="responses")
        chat, responses = endpoint.requests
        assert endpoint.keys == [f"Bearer {KEY}"] * 2
        assert endpoint.paths == ["/v1/chat/completions", "/v1/responses"]
    function = {"name": "read", "description": "reads", "parameters": {"type": "object", "properties": {}}}
    assert chat == {
        "model": "tiny",
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "read it"},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"id": "c9", "type": "function", "function": {"name": "read", "arguments": "{}"}}],
            },
            {"role": "tool", "content": "here", "tool_call_id": "c9"},
        ],
        "max_completion_tokens": 77,
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": 3,
        "tools": [{"type": "function", "function": function}],
        "reasoning_effort": "low",
    }
    assert responses == {
        "model": "tiny",
        "input": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "read it"},
            {"type": "function_call", "call_id": "c9", "name": "read", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c9", "output": "here"},
        ],
        "max_output_tokens": 77,
        "store": False,
        "temperature": 0.5,
        "top_p": 0.9,
        "tools": [{"type": "function", **function}],
    }


def test_tokens_of_a_cache_are_told_and_missing_ones_estimated() -> None:
    cached = {"prompt_tokens": 100, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 64}}
    with Endpoint([Answer(usage=cached), Answer("x" * 300, usage=None)]) as endpoint:
        assert generated(endpoint).tokens == Tokens(read=100, cached=64, written=1)
        guessed = generated(endpoint).tokens
    assert guessed.estimated
    assert guessed.written == 100
    assert guessed.read > 0


def error_body(message: str, code: str | None = None) -> str:
    return json.dumps({"error": {"message": message, "code": code, "type": "error"}})


OTHER = json.dumps({**chat_body(Answer()), "choices": "none"})
EMPTY = json.dumps({**chat_body(Answer()), "choices": []})
LONG = "This model's maximum context length is 8,192 tokens. However, you requested 9000 tokens."


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        (Fault(429, body=error_body("slow down")), LimitedError, "slow down"),
        (Fault(429, body=error_body("pay", "insufficient_quota")), RefusedError, "no credit"),
        (Fault(500, body="<html><b>oops</b></html>", kind="text/html"), TransientError, "oops"),
        (Fault(503), TransientError, "says 503"),
        (Fault(529, body=error_body("overloaded")), TransientError, "overloaded"),
        (Fault(408), TransientError, "408"),
        (Fault(401, body=error_body("Incorrect API key")), RefusedError, f"the key in ${VARIABLE} is not accepted"),
        (Fault(404, body=error_body("no such model")), RefusedError, "no such model"),
        (Fault(400, body=error_body("temperature is not supported")), RefusedError, "temperature"),
        (Fault(400, body=error_body(LONG, "context_length_exceeded")), TooLongError, "8,192"),
        (Fault(400, body=error_body(LONG)), TooLongError, "8,192"),
        (Fault(413), TooLongError, "413"),
        (Fault(200, body=error_body(LONG)), TooLongError, "8,192"),
        (Fault(200, body=error_body("backend gone")), TransientError, "backend gone"),
        (Fault(200, body='{"choices": [{"mess'), TransientError, "cannot be read"),
        (Fault(200, body="[1, 2]"), TransientError, "a list"),
        (Fault(200, body="hello", kind="text/plain"), TransientError, "cannot be read"),
        (Fault(200, body=OTHER), TransientError, "choices"),
        (Fault(200, body=EMPTY), TransientError, "no choices"),
        (Fault(200, body=json.dumps({"choices": [{"message": {"content": 7}}]})), TransientError, "content"),
        (Fault(200, body=json.dumps(chat_body(Answer())), drop_after=20), TransientError, "/chat/completions: "),
        (Fault(200, body="x" * (3 << 20)), TransientError, "more than 2 MB"),
        (Fault(200, body=json.dumps(chat_body(Answer())), wait=9.0), TransientError, "no answer within 1 s"),
        (Fault(200, body='data: {"choices"', kind="text/event-stream"), TransientError, "broke off"),
        (Fault(200, body='data: {"choices"\n\n', kind="text/event-stream"), TransientError, "cannot be read"),
        (Fault(200, body="data: [DONE]\n\n", kind="text/event-stream"), TransientError, "broke off"),
        (
            Fault(200, body='data: {"choices": [{"delta": {"content": "a"}}]}\n\n', kind="text/event-stream"),
            TransientError,
            "broke off",
        ),
        (
            Fault(200, body=f"data: {error_body('lost my mind')}\n\n", kind="text/event-stream"),
            TransientError,
            "lost my mind",
        ),
    ],
)
def test_faults_are_errors_that_say_what_happened(fault: Fault, kind: type[ModelError], words: str) -> None:
    with Endpoint([fault]) as endpoint, pytest.raises(ModelError) as raised:
        generated(endpoint, timeout=1.0, answer_mb=2.0)
    assert type(raised.value) is kind
    assert words in str(raised.value)
    assert KEY not in repr(raised.value)
    assert "\n" not in str(raised.value)


def test_the_context_that_an_endpoint_names_is_read() -> None:
    with Endpoint([Fault(400, body=error_body(LONG))]) as endpoint, pytest.raises(TooLongError) as raised:
        generated(endpoint)
    assert raised.value.context == 8192


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "Retry-After": "1"}, 0.25),
        ({"Retry-After": formatdate(time.time() + 36_000, usegmt=True)}, 36_000.0),
        ({"Retry-After": formatdate(time.time() - 30, usegmt=True)}, 0.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-3"}, None),
        ({"Retry-After": "nan"}, None),
        ({}, None),
    ],
)
def test_how_long_to_wait_is_read(headers: dict[str, str], seconds: float | None) -> None:
    with Endpoint([Fault(429, headers)]) as endpoint, pytest.raises(LimitedError) as raised:
        generated(endpoint)
    found = raised.value.retry_after
    assert found == seconds or (found is not None and seconds is not None and abs(found - seconds) < 900)


def test_an_endpoint_that_is_not_there_is_told_at_start() -> None:
    with Endpoint() as endpoint:
        gone = endpoint.url
    for call in (start, generated):
        with pytest.raises((UserError, TransientError), match=r"127\.0\.0\.1"):
            call(type("Gone", (), {"url": gone})())


def start(endpoint: Endpoint, **changes: Any) -> None:
    async def run() -> None:
        one = backend(endpoint, **changes)
        try:
            await one.start()
        finally:
            await one.close()

    asyncio.run(run())


def test_mistakes_of_users_are_told_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    with Endpoint(models=["tiny", "large", "huge"]) as endpoint:
        start(endpoint)
        with pytest.raises(UserError, match="has no model hug; it has: huge"):
            start(endpoint, model="hug")
        monkeypatch.setenv(VARIABLE, "wrong")
        with pytest.raises(UserError, match=f"the key in \\${VARIABLE} is not accepted") as raised:
            start(endpoint)
        assert "wrong" not in str(raised.value)
        with pytest.raises(UserError, match=r"llm\.backend\.key names its variable"):
            start(endpoint, key=None)
        monkeypatch.delenv(VARIABLE)
        with pytest.raises(UserError, match=f"set {VARIABLE}"):
            start(endpoint)
        with pytest.raises(ValueError, match="must not contain a key"):
            backend(endpoint, base_url="http://user:secret@127.0.0.1/v1")
        endpoint.key, endpoint.models = None, None
        start(endpoint, key=None, model="unlisted")


def test_a_request_that_is_called_off_ends_at_the_endpoint() -> None:
    async def run(endpoint: Endpoint) -> None:
        one = backend(endpoint)
        task = asyncio.create_task(one.generate(asked()))
        while not endpoint.in_flight:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await one.close()
        for _ in range(300):
            if endpoint.called_off:
                break
            await asyncio.sleep(0.01)

    with Endpoint([Answer(wait=30.0)]) as endpoint:
        asyncio.run(run(endpoint))
        assert (endpoint.called_off, endpoint.in_flight) == (1, 0)


def test_what_an_endpoint_says_besides_is_no_concern() -> None:
    parts = [{"type": "text", "text": "in "}, {"type": "text", "text": "parts"}]
    choices = [
        {"index": 0, "message": {"content": parts, "audio": None}, "finish_reason": None, "logprobs": {}},
        {"index": 1, "message": {"content": "another"}},
    ]
    more = {"system_fingerprint": "x", "service_tier": None, "choices": choices}
    behaviours: list[Behaviour] = [Answer(more=more)]
    with Endpoint(behaviours) as endpoint:
        assert generated(endpoint).message.text == "in parts"


def test_a_proxy_that_the_environment_names_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Endpoint([Answer("through a proxy")]) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.removesuffix("/v1"))
        elsewhere = "http://endpoint.invalid/v1"
        assert generated(proxy, base_url=elsewhere).message.text == "through a proxy"
        monkeypatch.setenv("no_proxy", "endpoint.invalid")
        with pytest.raises(TransientError, match=r"endpoint\.invalid"):
            generated(proxy, base_url=elsewhere)
        assert len(proxy.requests) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_sealed_reasoning_goes_back_with_the_calls_that_it_led_to(stream: bool) -> None:
    thought = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAA=", "status": None}
    call = {"type": "function_call", "call_id": "c0", "name": "read", "arguments": "{}"}
    extra = {"include": ["reasoning.encrypted_content"]}
    with Endpoint([Answer(more={"output": [thought, call]}), Answer("done")]) as endpoint:
        first = generated(endpoint, api="responses", stream=stream, extra=extra)
        told = Message(role=Role.TOOL, text="the file", answers="c0")
        turns = (*asked().messages, first.message, told)
        generated(endpoint, asked().model_copy(update={"messages": turns}), api="responses", extra=extra)
        sent = endpoint.requests[-1]
    assert sent["include"] == ["reasoning.encrypted_content"]
    assert sent["store"] is False
    assert sent["input"][1:] == [
        thought,
        call,
        {"type": "function_call_output", "call_id": "c0", "output": "the file"},
    ]


def test_reasoning_that_is_not_sealed_stays_where_it_is() -> None:
    with Endpoint([Answer("hi", reasoning="let me think")]) as endpoint:
        found = generated(endpoint, api="responses")
    assert (found.reasoning, found.message.sealed) == ("let me think", ())
