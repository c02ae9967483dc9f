"""The whole way of an expansion, through a real endpoint whose answers are scripts."""

from __future__ import annotations

import asyncio
import pickle
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kernelevolve.core.budget import Budget
from kernelevolve.core.errors import UserError
from kernelevolve.core.evaluation import Evaluation
from kernelevolve.core.graph import Draft, Expansion
from kernelevolve.core.kernel import Kernel
from kernelevolve.llm.errors import BudgetExceededError
from kernelevolve.llm.recording import FILE, Recording
from kernelevolve.synthesis.base import Context, Parent
from tests.endpoint import Answer, Behaviour, Endpoint, Fault
from tests.llm.conftest import llm_settings
from tests.llm.test_openai import LONG, error_body
from tests.small_task import kernel
from tests.synthesis.universal.conftest import DirectModels, context, models, operator, parent

FILE_ANSWER = f"NOTE: fused\n\n```python\n{kernel()}\n```\n"
OTHER_ANSWER = f"NOTE: another\n\n```python\n{kernel(2.5)}\n```\n"


def proposed(
    endpoint: Endpoint,
    folder: Path,
    parents: Sequence[Parent] = (),
    changes: Mapping[str, Any] | None = None,
    made: Callable[[Context], Context] = lambda c: c,
    seed: int = 5,
    **settings: Any,
) -> Draft:
    async def propose() -> Draft:
        held = models(endpoint, folder, **settings)
        ids = tuple(p.node.id for p in parents)
        expansion = Expansion(step=7, phase="expand" if ids else "draft", parents=ids, seed=seed)
        try:
            return await operator(**(changes or {})).propose(expansion, made(context(held, tuple(parents))))
        finally:
            await held.actor.close()

    return asyncio.run(propose())


def said(endpoint: Endpoint, number: int = -1) -> str:
    return str(endpoint.requests[number]["messages"][-1]["content"])


def test_a_draft(tmp_path: Path) -> None:
    with Endpoint([Answer(FILE_ANSWER)]) as endpoint:
        draft = proposed(endpoint, tmp_path)
        asked = endpoint.requests[0]
    assert draft.kernel.source == kernel()
    assert (draft.kernel.language, draft.operator, draft.note, draft.model) == ("python", "llm/draft", "fused", "tiny")
    assert draft.usage.tokens == 15
    assert draft.rejected is None
    assert [m["role"] for m in asked["messages"]] == ["system", "user"]
    assert asked["max_completion_tokens"] == 16000
    recording = Recording(tmp_path / FILE, write=False)
    model, request, completion = recording.exchange(draft.exchanges[0])
    assert (model, completion.message.text) == ("tiny", FILE_ANSWER)
    assert [m.text for m in request.messages] == [m["content"] for m in asked["messages"]]
    assert recording.spent("run.0.7").tokens == 15


@pytest.mark.parametrize(
    ("parents", "move", "words"),
    [
        ((parent(1, 2.0),), "improve", "Make the kernel faster. The best of this search so far is 2.00x."),
        ((parent(1, 0.0),), "repair", "Mend the kernel"),
        ((parent(1, 2.0), parent(2, 1.0)), "crossover", "joins what is best"),
    ],
)
def test_what_it_asks_for_depends_on_what_there_is(
    tmp_path: Path, parents: Sequence[Parent], move: str, words: str
) -> None:
    with Endpoint([Answer(FILE_ANSWER)]) as endpoint:
        assert proposed(endpoint, tmp_path, parents).operator == f"llm/{move}"
        assert words in said(endpoint)
        assert all(p.kernel.source.strip() in said(endpoint) for p in parents)


def test_edits_are_made_to_the_parent(tmp_path: Path) -> None:
    block = "<<<<<<< SEARCH\ngelu(x) * 2.0\n=======\n"
    text = block.replace("gelu(x) * 2.0", "        return torch.nn.functional.gelu(x) * 2.0") + (
        "        return 2.0 * torch.nn.functional.gelu(x)\n>>>>>>> REPLACE\n"
    )
    with Endpoint([Answer(text)]) as endpoint:
        draft = proposed(endpoint, tmp_path, (parent(1, 1.0, kernel()),))
    assert "return 2.0 * torch.nn.functional.gelu(x)" in draft.kernel.source


def test_what_cannot_be_used_goes_back_once_with_the_reason(tmp_path: Path) -> None:
    with Endpoint([Answer("I cannot."), Answer(FILE_ANSWER)]) as endpoint:
        draft = proposed(endpoint, tmp_path)
        assert draft.kernel.source == kernel()
        assert (draft.usage.tokens, len(draft.exchanges)) == (30, 2)
        assert "there is no file that defines class ModelNew" in said(endpoint)
        assert endpoint.requests[1]["messages"][:2] == endpoint.requests[0]["messages"]
        assert endpoint.requests[1]["messages"][2] == {"role": "assistant", "content": "I cannot."}


@pytest.mark.parametrize(
    ("behaviours", "reason", "requests"),
    [
        ([Answer("I cannot.")], "no file that defines class ModelNew", 2),
        ([Answer(FILE_ANSWER[:80], finish="length")], "cut off", 2),
        ([Answer(None, refusal="no")], "the model refused: no", 2),
        ([Fault(503)], "gave no answer", 2),
        ([Fault(400, body=error_body("maximum context length is 500 tokens"))], "the prompt is longer than", 1),
    ],
)
def test_then_it_is_a_draft_that_was_rejected(
    tmp_path: Path, behaviours: list[Behaviour], reason: str, requests: int
) -> None:
    with Endpoint(behaviours) as endpoint:
        draft = proposed(endpoint, tmp_path)
        assert len(endpoint.requests) == requests
    assert draft.rejected is not None
    assert reason in draft.rejected.summary
    assert draft.rejected.stage == "answer"
    other = replace_purpose(draft, "run.0.8")
    assert draft.kernel.id != other.kernel.id


def replace_purpose(draft: Draft, purpose: str) -> Draft:
    source = draft.kernel.source.replace("run.0.7", purpose)
    return draft.model_copy(update={"kernel": draft.kernel.model_copy(update={"source": source})})


def test_a_kernel_that_was_judged_goes_back_too(tmp_path: Path) -> None:
    known = {proposed_kernel(FILE_ANSWER, tmp_path)}
    with Endpoint([Answer(FILE_ANSWER), Answer(OTHER_ANSWER)]) as endpoint:
        draft = proposed(endpoint, tmp_path, made=lambda c: replace(c, known_kernels=known))
        assert "evaluated already" in said(endpoint)
    assert draft.kernel.source == kernel(2.5)


def proposed_kernel(text: str, folder: Path) -> str:
    with Endpoint([Answer(text)]) as endpoint:
        return proposed(endpoint, folder).kernel.id


def test_a_prompt_that_is_too_long_is_made_shorter(tmp_path: Path) -> None:
    def behave(body: Mapping[str, Any], _: int) -> Behaviour:
        length = sum(len(m["content"]) for m in body["messages"])
        return Fault(400, body=error_body(LONG.replace("8,192", "9,000"))) if length > 14_000 else Answer(FILE_ANSWER)

    history = [parent(i, 1.0 + i, "y = 1\n" * 1000) for i in range(6)]
    with Endpoint(behave) as endpoint:
        draft = proposed(
            endpoint, tmp_path, changes={"answer_tokens": 2000}, made=lambda c: replace(c, history=history)
        )
        assert draft.rejected is None
        assert len(endpoint.requests) == 2


def test_a_diagnosis_of_the_model_enters_the_prompt(tmp_path: Path) -> None:
    expected = [Answer("<think>hm</think>Memory bounds it: fuse."), Answer(FILE_ANSWER)]
    with Endpoint(expected) as endpoint:
        draft = proposed(endpoint, tmp_path, (parent(1, 2.0),), changes={"refine": True})
        first, second = endpoint.requests
    assert "Do not write a kernel now." in first["messages"][-1]["content"]
    assert "# Diagnosis\n\nMemory bounds it: fuse.\n" in second["messages"][-1]["content"]
    assert first["messages"][0] == second["messages"][0]
    assert (draft.note, len(draft.exchanges)) == ("fused", 2)


def test_a_diagnosis_that_failed_is_told(tmp_path: Path) -> None:
    def behave(body: Mapping[str, Any], _: int) -> Behaviour:
        return Fault(503) if "Do not write" in body["messages"][-1]["content"] else Answer(FILE_ANSWER)

    with Endpoint(behave) as endpoint:
        draft = proposed(endpoint, tmp_path, (parent(1, 2.0),), changes={"refine": True})
        assert "# Diagnosis" not in said(endpoint)
        drafted = proposed(endpoint, tmp_path, changes={"refine": True})
    assert draft.note == "fused (not diagnosed)"
    assert drafted.note == "fused", "a draft has nothing to diagnose"


def test_errors_that_end_a_run(tmp_path: Path) -> None:
    with Endpoint([Fault(401)]) as endpoint, pytest.raises(UserError, match="is not accepted"):
        proposed(endpoint, tmp_path)

    async def overspent(endpoint: Endpoint) -> None:
        held = DirectModels(llm_settings(endpoint), tmp_path, Budget(tokens=100))
        try:
            await operator().propose(Expansion(step=1, phase="draft", seed=1), context(held))
        finally:
            await held.actor.close()

    with Endpoint([Answer()]) as endpoint, pytest.raises(BudgetExceededError):
        asyncio.run(overspent(endpoint))


def test_the_same_seed_asks_the_same_and_another_another(tmp_path: Path) -> None:
    with Endpoint([Answer(FILE_ANSWER)]) as endpoint:
        for seed in (1, 1, 2):
            proposed(endpoint, tmp_path, seed=seed)
        first, second, third = endpoint.requests
    assert first == second != third


def test_a_bandit_learns_from_what_it_is_told_before_and_after_it_is_asked(tmp_path: Path) -> None:
    one = operator()
    for step in range(30):
        node = parent(step, 2.0 if step % 2 else 0.5).node
        one.tell(node.model_copy(update={"model": "good" if step % 2 else "bad"}))
    again = pickle.loads(pickle.dumps(one))

    async def run(endpoint: Endpoint) -> None:
        held = models(endpoint, tmp_path, models=["good", "bad"], choose="bandit")
        for i in range(20):
            await again.propose(Expansion(step=i, phase="draft", seed=i), context(held))
        await held.actor.close()

    with Endpoint([Answer(FILE_ANSWER)], models=["good", "bad"]) as endpoint:
        asyncio.run(run(endpoint))
        asked = [request["model"] for request in endpoint.requests]
    assert asked.count("good") > asked.count("bad")


@pytest.mark.parametrize(
    ("words", "steps", "mend"),
    [
        ("max_completion_tokens=16000 cannot be greater than max_model_len=4096", 0, "operator.answer_tokens="),
        ('"auto" tool choice requires a parser', 3, "operator.agent.protocol=text"),
        ("no such parameter: warmth", 3, "warmth"),
    ],
)
def test_a_refusal_names_the_setting_that_may_be_meant(tmp_path: Path, words: str, steps: int, mend: str) -> None:
    agent = {"steps": steps, "evaluations": 1, "protocol": "native"}

    async def never(_: Kernel) -> Evaluation:
        raise AssertionError

    with (
        Endpoint([Fault(400, body=error_body(words))]) as endpoint,
        pytest.raises(UserError, match=re.escape(mend)) as raised,
    ):
        proposed(endpoint, tmp_path, changes={"agent": agent}, made=lambda made: replace(made, evaluate=never))
    assert str(raised.value).count("operator.") == (mend != "warmth")
