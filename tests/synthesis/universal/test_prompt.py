"""What a prompt says, and that it keeps to its budget."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernelevolve.core.task import AllowAten
from kernelevolve.llm.errors import TooLongError
from kernelevolve.llm.lengths import tokens_of_message
from kernelevolve.llm.messages import Role
from kernelevolve.synthesis.base import Parent
from kernelevolve.synthesis.universal.history import remembered
from kernelevolve.synthesis.universal.prompt import Material, PromptBuilder, PromptKind
from kernelevolve.synthesis.universal.templates import Templates
from kernelevolve.synthesis.universal.views import DocumentView
from tests.synthesis.universal.conftest import FACTS, HARDWARE, TASK, parent

TEMPLATES = Templates(None)


def builder(form: str = "either", allow_aten: AllowAten = AllowAten.ALL, language: str = "cpp") -> PromptBuilder:
    task = TASK.model_copy(update={"allow_aten": allow_aten})
    return PromptBuilder(TEMPLATES, task, FACTS, "cpu", HARDWARE, language, form)


def total(material: Material, budget: int) -> int:
    return sum(map(tokens_of_message, builder().build(material, budget)))


texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=400)
kernels = st.builds(
    parent, st.integers(0, 10**6), st.sampled_from([0.0, 1.0, 17.0]), texts, texts.map(lambda t: t[:200])
)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(PromptKind),
    st.lists(kernels, max_size=2),
    st.lists(kernels, max_size=30),
    st.lists(st.builds(DocumentView, title=texts, text=texts), max_size=4),
    st.integers(1500, 6000),
)
def test_no_prompt_is_longer_than_its_budget(
    move: PromptKind, parents: list[Parent], history: list[Parent], documents: list[DocumentView], budget: int
) -> None:
    material = Material(move, tuple(parents), history, tuple(documents), 1.5, "Begin.")
    try:
        messages = builder().build(material, budget)
    except TooLongError:
        shortest = builder().build(Material(move, tuple(parents)), 10**6)
        assert sum(map(tokens_of_message, shortest)) > budget - 200
        return
    assert sum(map(tokens_of_message, messages)) <= budget
    assert [message.role for message in messages] == [Role.SYSTEM, Role.USER]
    for one in parents:
        assert one.kernel.source.rstrip() in messages[1].text


def test_ten_thousand_nodes_of_history_cost_no_time() -> None:
    history = [parent(i, float(i % 3), "# some text of a kernel\n" * 20) for i in range(10_000)]
    one = builder()
    one.build(Material(PromptKind.DRAFT), 24_000)
    best = 9.0
    for _ in range(5):
        begin = time.perf_counter()
        messages = one.build(Material(PromptKind.IMPROVE, (parent(1, 2.0),), history), 24_000)
        best = min(best, time.perf_counter() - begin)
    assert sum(map(tokens_of_message, messages)) <= 24_000
    assert best < 0.1, "20 ms on an idle machine, see scripts.bench.models"


def test_the_head_is_the_same_whatever_is_asked() -> None:
    one = builder()
    heads = {
        one.build(Material(move, (parent(3, 1.0),), [parent(9, 0.0)]), 9000)[0]
        for move in (PromptKind.REPAIR, PromptKind.IMPROVE, PromptKind.CROSSOVER)
    }
    assert len(heads) == 1
    text = heads.pop().text
    for said in (
        TASK.source.strip(),
        "vector_bits: 256",
        "input x: float32 [64, 512]",
        "rows_3",
        "load_library",
        "NOTE:",
    ):
        assert said in text


@pytest.mark.parametrize(
    ("rule", "said"), [(AllowAten.NONE, "is forbidden, and raises"), (AllowAten.HELPERS, "own arithmetic is forbidden")]
)
def test_the_rule_of_the_task_is_told(rule: AllowAten, said: str) -> None:
    assert said in builder(allow_aten=rule).head.text
    assert "forbidden" not in builder().head.text


@pytest.mark.parametrize(("form", "searches"), [("whole", False), ("edits", True), ("either", True)])
def test_the_form_of_answers_is_told(form: str, searches: bool) -> None:
    assert ("<<<<<<< SEARCH" in builder(form).head.text) is searches
    assert "ctypes" not in builder(language="python").head.text


def test_failures_come_first_where_there_is_no_room_for_all() -> None:
    history = [
        *(parent(i, 0.0, note=f"failing idea {i}") for i in range(10)),
        *(parent(20 + i, 2.0 + i, "x = 1\n" * 500, note=f"working idea {i}") for i in range(10)),
    ]
    least = total(Material(PromptKind.DRAFT), 10**6)
    roomy = builder().build(Material(PromptKind.DRAFT, (), history), least + 9000)[1].text
    assert roomy.count("x = 1\n" * 500) == 3, "the code of the best"
    assert "working idea 9" in roomy
    assert "failing idea 9" in roomy
    tight = builder().build(Material(PromptKind.DRAFT, (), history), least + 150)[1].text
    assert "failing idea 9" in tight
    assert "working idea" not in tight
    assert "failing idea 0" not in tight


def test_failures_are_newest_first_and_those_alike_are_one() -> None:
    history = [parent(1, 0.0, note="a"), parent(2, 0.0, note="b"), parent(3, 0.0, note="a"), parent(4, 1.0, note="c")]
    assert remembered(history).failed == ("a: wrong result, it is wrong (2 times)", "b: wrong result, it is wrong")


def test_a_long_diagnosis_is_cut_before_the_kernel_is() -> None:
    failed = parent(1, 0.0)
    diagnosis = failed.node.evaluation.diagnosis
    assert diagnosis is not None
    long = diagnosis.model_copy(update={"details": "first line\n" + "noise\n" * 2000 + "last line"})
    verdict = failed.node.evaluation.model_copy(update={"diagnosis": long})
    told = Parent(failed.node.model_copy(update={"evaluation": verdict}), failed.kernel)
    material = Material(PromptKind.REPAIR, (told,))
    roomy = builder().build(material, 10**6)[1].text
    assert "first line" in roomy
    assert "last line" in roomy
    assert len(roomy) < 6000
    tight = builder().build(material, total(Material(PromptKind.REPAIR, (failed,)), 10**6) + 10)[1].text
    assert "first line" not in tight
    assert told.kernel.source.strip() in tight
    with pytest.raises(TooLongError, match="without any history"):
        builder().build(material, 500)
