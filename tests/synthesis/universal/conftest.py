"""A prepared operator, and models behind a real endpoint without Ray."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from kernelevolve.core.budget import Budget
from kernelevolve.core.graph import Node
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.target import Target
from kernelevolve.core.task import Task
from kernelevolve.llm.actor import ModelActor
from kernelevolve.llm.exchange import Exchange
from kernelevolve.llm.messages import Request
from kernelevolve.llm.settings import LlmSettings, ModelChoice
from kernelevolve.synthesis.base import Context, Parent
from kernelevolve.synthesis.universal.operator import UniversalOperator
from kernelevolve.synthesis.universal.task_facts import examine
from tests.conformance.records import make_evaluation
from tests.endpoint import Endpoint
from tests.keys import KEY, VARIABLE
from tests.llm.conftest import llm_settings
from tests.small_task import SOURCE

SHIPPED = Path(__file__).parents[3] / "conf/operator/llm.yaml"
TASK = Task(name="double_gelu", source=SOURCE)
FACTS = examine(TASK)
HARDWARE = {"model": "some processor", "cores": "2", "vector_bits": "256"}


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, KEY)


def operator(**changes: Any) -> UniversalOperator:
    shipped: dict[str, Any] = dict(OmegaConf.to_container(OmegaConf.load(SHIPPED)))  # type: ignore[arg-type]
    shipped.pop("_target_")
    return replace(UniversalOperator(**{**shipped, **changes}), facts=FACTS)


class DirectModels:
    """The actor's methods on this loop."""

    def __init__(self, settings: LlmSettings, folder: Path, budget: Budget | None = None) -> None:
        self.actor = ModelActor(settings)
        self._budget = budget or Budget()
        self._folder = folder
        self._settings = settings

    @property
    def weights(self) -> Mapping[str, float]:
        return {model.name: model.weight for model in self._settings.models}

    @property
    def choice(self) -> ModelChoice:
        return self._settings.choose

    async def ask(self, model: str, request: Request, purpose: str) -> Exchange:
        await self.actor.start(self._budget)
        await self.actor.open(self._folder, self._budget)
        return await self.actor.ask(self._folder, model, request, purpose)


def models(endpoint: Endpoint, folder: Path, **changes: Any) -> DirectModels:
    return DirectModels(llm_settings(endpoint, **{"attempts": 2, **changes}), folder)


def parent(
    step: int, fitness: float, source: str = "# a kernel\n", note: str = "", seconds: float | None = None
) -> Parent:
    kernel = Kernel(source=f"{source}# {step}\n", language="python")
    node = Node(
        id=f"run.0.{step}",
        run="run",
        island=0,
        step=step,
        phase="draft",
        operator="llm/draft",
        note=note or f"idea {step}",
        kernel_id=kernel.id,
        evaluation=make_evaluation(kernel, fitness),
        seconds=float(step) if seconds is None else seconds,
    )
    return Parent(node, kernel)


def context(endpoint_models: Any = None, parents: tuple[Parent, ...] = (), **changes: Any) -> Context:
    bare = Context.bare(TASK, Target(device="cpu", vendor="cpu", arch="any", languages=("cpp",), facts=HARDWARE))
    return replace(bare, models=endpoint_models, parents=parents, node_id="run.0.7", **changes)
