"""Nodes as agents: tools, steps, and what is left when they are over. The endpoint's answers are scripts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kernelevolve.core.evaluation import Evaluation, Status
from kernelevolve.core.graph import Draft, Expansion
from kernelevolve.core.kernel import Kernel
from kernelevolve.llm.messages import ToolCall
from kernelevolve.synthesis.base import Parent
from kernelevolve.synthesis.universal.tools import TOOLS, Workbench, calls_in
from tests.conformance.records import make_evaluation
from tests.endpoint import Answer, Behaviour, Endpoint, Fault
from tests.llm.test_openai import LONG, error_body
from tests.small_task import kernel
from tests.synthesis.universal.conftest import context, models, operator, parent

RETURN = "        return torch.nn.functional.gelu(x) * 2.0"
SPEEDS = {2.0: 1.5, 2.5: 3.0, 2.2: 2.0}
"""What the judge of these tests finds, by the factor in a kernel; others are wrong."""


class Evaluate:
    def __init__(self) -> None:
        self.asked: list[Kernel] = []

    async def __call__(self, evaluated: Kernel) -> Evaluation:
        self.asked.append(evaluated)
        if "unfinished" in evaluated.source:
            return make_evaluation(evaluated, 0.0, Status.COMPILE_ERROR)
        factor = float(evaluated.source.partition("gelu(x) * ")[2].split()[0])
        return make_evaluation(evaluated, SPEEDS.get(factor, 0.0))


def call(name: str, **arguments: str) -> ToolCall:
    return ToolCall(id="c", name=name, arguments=json.dumps(arguments))


def used(workbench: Workbench, *calls: ToolCall) -> list[str]:
    async def use() -> list[str]:
        return [await workbench.carry_out(one) for one in calls]

    return asyncio.run(use())


def test_tools_do_what_they_say() -> None:
    evaluate = Evaluate()
    bench = Workbench("", evaluate, 4)
    assert used(bench, call("read")) == ["the file is empty"]
    told = used(
        bench,
        call("lint"),
        call("write", source=kernel(2.0)),
        call("read"),
        call("lint"),
        call("compile"),
        call("test"),
        call("measure"),
        call("replace", search=RETURN, replace=RETURN.replace("2.0", "2.5")),
        call("measure"),
    )
    assert told[0] == "the file is empty"
    assert "   1 import torch" in told[2]
    assert told[3] == "no objections"
    assert told[4].startswith("it compiles")
    assert told[5].startswith("it is correct")
    assert told[6].startswith("1.500x over the reference (1.350 to 1.650)")
    assert "2 more files" in told[8], "one text costs one judgement"
    assert told[8].startswith("3.000x")
    assert [one.source for one in evaluate.asked] == [kernel(2.0), kernel(2.5)]
    assert bench.best is not None
    assert bench.best.kernel.source == kernel(2.5)


def test_what_goes_wrong_is_told() -> None:
    bench = Workbench(kernel(3.0), Evaluate(), 1)
    told = used(
        bench,
        call("fly"),
        ToolCall(id="c", name="read", arguments="{"),
        ToolCall(id="c", name="read", arguments="[]"),
        call("write"),
        call("replace", search="not there", replace="x"),
        call("compile"),
        call("measure"),
        call("write", source=kernel(2.0)),
        call("measure"),
        call("write", source="def f(:"),
        call("test"),
    )
    assert "there is no tool fly: there are read, write" in told[0]
    assert "no valid JSON" in told[1]
    assert "must be an object" in told[2]
    assert "source must be a string" in told[3]
    assert "not in the file" in told[4]
    assert told[5].startswith("it compiles"), "that it is wrong is for other tools to tell"
    assert told[6].startswith("wrong_result: it is wrong")
    assert "nothing more can be compiled" in told[8]
    assert "no valid Python" in told[10]


def test_a_file_that_does_not_compile_says_so_to_every_tool() -> None:
    bench = Workbench(kernel(2.0) + "# unfinished\n", Evaluate(), 1)
    assert all(told.startswith("compile_error: it is wrong") for told in used(bench, call("compile"), call("test")))


def test_calls_in_text() -> None:
    text = f"First I look.\nTOOL: read\n\nThen:\nTOOL: write\n```python\n{kernel()}```\nTOOL: measure\n"
    calls = calls_in(text)
    assert [one.name for one in calls] == ["read", "answer", "measure"]
    assert len({one.id for one in calls}) == 3
    bench = Workbench("", Evaluate(), 1)
    assert used(bench, *calls)[2].startswith("1.500x")
    assert calls_in("no TOOL: here") == []


def worked(endpoint: Endpoint, folder: Path, evaluate: Evaluate, parents: Sequence[Parent] = (), **agent: Any) -> Draft:
    settings = {"steps": 6, "evaluations": 3, "protocol": "native", **agent}

    async def propose() -> Draft:
        held = models(endpoint, folder)
        ids = tuple(p.node.id for p in parents)
        expansion = Expansion(step=7, phase="expand" if ids else "draft", parents=ids, seed=5)
        made = replace(context(held, tuple(parents)), evaluate=evaluate)
        try:
            return await operator(agent=settings).propose(expansion, made)
        finally:
            await held.actor.close()

    return asyncio.run(propose())


def calls(*names: tuple[str, Mapping[str, str]]) -> Answer:
    return Answer("", calls=[(name, json.dumps(arguments)) for name, arguments in names], finish="tool_calls")


def test_the_best_kernel_that_it_measured_becomes_the_node(tmp_path: Path) -> None:
    script: list[Behaviour] = [
        calls(("write", {"source": kernel(2.5)}), ("measure", {})),
        calls(("write", {"source": kernel(2.2)}), ("measure", {})),
        calls(("write", {"source": kernel(9.0)}), ("test", {})),
        Answer("NOTE: the second was slower", calls=[("done", "{}")], finish="tool_calls"),
    ]
    evaluate = Evaluate()
    with Endpoint(script) as endpoint:
        draft = worked(endpoint, tmp_path, evaluate)
        first, second, *_, last = endpoint.requests
    assert draft.kernel.source == kernel(2.5)
    assert (draft.note, draft.operator, len(draft.exchanges), draft.usage.tokens, draft.extra_evaluations) == (
        "the second was slower", "llm/draft", 4, 60, 3,
    )  # fmt: skip
    assert [tool["function"]["name"] for tool in first["tools"]] == [tool.name for tool in TOOLS]
    assert "at most 3 texts" in first["messages"][2]["content"]
    tools = [message for message in second["messages"] if message["role"] == "tool"]
    assert [tool["tool_call_id"] for tool in tools] == ["c0", "c1"]
    assert tools[1]["content"].startswith("3.000x")
    assert "5 more answers of yours" in tools[1]["content"]
    assert last["messages"][: len(second["messages"])] == second["messages"], "a cache of prefixes serves it"


def test_the_text_protocol_does_the_same(tmp_path: Path) -> None:
    script: list[Behaviour] = [
        Answer(f"TOOL: write\n```python\n{kernel(2.5)}```\nTOOL: measure\n"),
        Answer("NOTE: good enough\nTOOL: done\n"),
    ]
    with Endpoint(script) as endpoint:
        draft = worked(endpoint, tmp_path, Evaluate(), protocol="text")
        first, second = endpoint.requests
    assert draft.kernel.source == kernel(2.5)
    assert draft.note == "good enough"
    assert "tools" not in first
    assert "TOOL: measure" in first["messages"][2]["content"]
    assert "3.000x" in second["messages"][-1]["content"]


@pytest.mark.parametrize(
    ("script", "source"),
    [
        ([Answer(f"```python\n{kernel(2.5)}```\n")], kernel(2.5)),
        ([calls(("write", {"source": kernel(2.5)})), Answer("I am done.")], kernel(2.5)),
        ([calls(("write", {"source": kernel(9.0)}), ("measure", {})), calls(("done", {}))], kernel(9.0)),
    ],
    ids=["an answer without tools", "written and not measured", "nothing that is correct"],
)
def test_what_an_agent_leaves_is_taken(tmp_path: Path, script: list[Behaviour], source: str) -> None:
    evaluate = Evaluate()
    with Endpoint(script) as endpoint:
        draft = worked(endpoint, tmp_path, evaluate)
    assert draft.rejected is None
    assert draft.kernel.source.strip() == source.strip()
    assert [one.source.strip() for one in evaluate.asked] == [source.strip()]


@pytest.mark.parametrize("script", [[Answer("I cannot.")], [Answer(None, refusal="no")], [calls(("done", {}))]])
def test_an_agent_that_leaves_nothing_is_rejected(tmp_path: Path, script: list[Behaviour]) -> None:
    with Endpoint(script) as endpoint:
        draft = worked(endpoint, tmp_path, Evaluate())
        assert len(endpoint.requests) == 1
    assert draft.rejected is not None
    assert "without a kernel" in draft.rejected.summary


def test_no_more_steps_than_allowed(tmp_path: Path) -> None:
    with Endpoint([calls(("read", {}))]) as endpoint:
        draft = worked(endpoint, tmp_path, Evaluate(), (parent(1, 2.0, kernel(2.0)),), steps=3)
        assert len(endpoint.requests) == 3
    assert draft.kernel.source.startswith(kernel(2.0)), "what it began with was measured at the end"


def test_a_long_conversation_loses_its_oldest_parts_and_goes_on(tmp_path: Path) -> None:
    def behave(body: Mapping[str, Any], number: int) -> Behaviour:
        if sum(len(str(message.get("content") or "")) for message in body["messages"]) > 150_000:
            return Fault(400, body=error_body(LONG))
        if number < 8:
            return calls(("write", {"source": kernel(2.5) + "# long\n" * 4000}), ("read", {}))
        return calls(("measure", {}), ("done", {}))

    with Endpoint(behave) as endpoint:
        draft = worked(endpoint, tmp_path, Evaluate(), steps=12)
        told = [message["content"] for message in endpoint.requests[-1]["messages"]]
    assert draft.rejected is None
    assert "(left out, to make room)" in told
