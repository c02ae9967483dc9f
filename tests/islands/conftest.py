"""Archipelagos for tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from islands.archipelago import Archipelago
from islands.island import SearchPlan
from islands.settings import IslandSettings
from kernelevolve.core.budget import Budget
from kernelevolve.core.target import Target
from kernelevolve.core.task import Task
from tests.islands.doubles import DoubleEvaluator, DoubleOperator

CONF = Path(__file__).parents[2] / "conf"


def build(
    folder: Path, budget: Budget, operator: Any, evaluator: Any, search: str | Sequence[str], **settings: Any
) -> Archipelago:
    """An archipelago with the shipped settings but those named. `search`: one for all islands, or one for each."""
    plan = SearchPlan(
        run="run",
        task=Task(name="double", source=""),
        target=Target(device="cpu", vendor="cpu", arch="any"),
        operator=operator,
        evaluator=evaluator,
        settings=shipped_settings(**{"migration_interval": 5} | settings),
        seed=3,
    )
    names = [search] if isinstance(search, str) else search
    strategies: Any = [OmegaConf.to_container(OmegaConf.load(CONF / "search" / f"{name}.yaml")) for name in names]
    return Archipelago(folder=folder, budget=budget, plan=plan, strategies=strategies)


def shipped_settings(**changes: Any) -> IslandSettings:
    shipped: dict[str, Any] = dict(OmegaConf.load(CONF / "islands" / "default.yaml"))  # type: ignore[arg-type]
    return IslandSettings(**shipped | changes)


@pytest.fixture
def island_settings() -> IslandSettings:
    return shipped_settings()


Make = Callable[..., Archipelago]


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    (tmp_path / "marks").mkdir()
    return tmp_path / "marks"


@pytest.fixture
def make(ray_cluster: None, tmp_path: Path, marks: Path) -> Make:
    """Builds an archipelago on `<tmp_path>/run`."""
    del ray_cluster

    def make(
        budget: Budget,
        operator: Any = None,
        evaluator: Any = None,
        search: str | Sequence[str] = "evolutionary",
        **settings: Any,
    ) -> Archipelago:
        evaluator = evaluator or DoubleEvaluator(marks)
        return build(tmp_path / "run", budget, operator or DoubleOperator(), evaluator, search, **settings)

    return make
