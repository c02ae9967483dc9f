"""A model and the built-in operator in one, with a real endpoint whose answers are scripts."""

from __future__ import annotations

import asyncio
import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from kernelevolve import config
from kernelevolve.core.errors import UserError
from kernelevolve.core.graph import Expansion
from kernelevolve.synthesis.hybrid import HybridOperator
from tests.endpoint import Answer, Endpoint
from tests.keys import KEY, VARIABLE
from tests.small_task import kernel
from tests.synthesis.universal.conftest import TASK, context, models, parent

ANSWER = f"```python\n{kernel()}\n```\n"


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, KEY)


def hybrid(*overrides: str) -> HybridOperator:
    words = ["task=x", "operator=hybrid", "llm=openai", "llm.models=[tiny]", *overrides]
    built = config.load(words).operator.build("operator")
    assert isinstance(built, HybridOperator)
    return built


@pytest.fixture(scope="module")
def prepared() -> bytes:
    return pickle.dumps(hybrid().prepare(TASK))


def makers(one: HybridOperator, folder: Path, count: int = 40) -> Counter[str]:
    """Who carries out so many drafts."""

    async def propose(endpoint: Endpoint) -> list[Any]:
        held = models(endpoint, folder)
        expansions = [Expansion(step=i, phase="draft", seed=i) for i in range(count)]
        return [await one.propose(expansion, context(held)) for expansion in expansions]

    with Endpoint([Answer(ANSWER)]) as endpoint:
        drafts = asyncio.run(propose(endpoint))
    return Counter(draft.operator.partition("/")[0] for draft in drafts)


def test_both_write_kernels_and_what_pays_writes_more(prepared: bytes, tmp_path: Path) -> None:
    fresh = makers(pickle.loads(prepared), tmp_path)
    assert min(fresh["llm"], fresh["builtin"]) >= 8
    told: HybridOperator = pickle.loads(prepared)
    for step in range(60):
        name = ("llm", "builtin")[step % 2]
        node = parent(step, 3.0 if name == "builtin" else 0.0).node
        told.tell(node.model_copy(update={"operator": f"{name}/draft"}))
    learned = makers(told, tmp_path)
    assert learned["builtin"] >= 30
    assert learned["llm"] >= 1, "it gets its least share"


def test_the_same_log_and_seed_choose_the_same(prepared: bytes, tmp_path: Path) -> None:
    first, second = (makers(pickle.loads(prepared), tmp_path, 20) for _ in range(2))
    assert first == second


def test_the_builtin_operator_goes_on_from_a_kernel_of_the_model(prepared: bytes, tmp_path: Path) -> None:
    written = parent(1, 2.0, kernel())

    async def propose(endpoint: Endpoint) -> set[str]:
        one: HybridOperator = pickle.loads(prepared)
        held = context(models(endpoint, tmp_path), (written,))
        expansions = [Expansion(step=i, phase="expand", parents=(written.node.id,), seed=i) for i in range(12)]
        return {(await one.propose(e, held)).operator.partition("/")[0] for e in expansions}

    with Endpoint([Answer(ANSWER)]) as endpoint:
        assert asyncio.run(propose(endpoint)) == {"llm", "builtin"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["operator.share=1.0"], "operator.share=1"),
        (["operator.least_share=0.7"], "operator.least_share=0.7"),
        (["operator.llm.corrections=-1"], "operator.corrections=-1"),
        (["operator.builtin.attempt=3"], "there is no setting operator.builtin.attempt"),
    ],
)
def test_illegal_settings_are_told(words: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        hybrid(*words)
