"""Archipelagos for tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from islands.archipelago import Archipelago
from islands.island import Plan
from islands.settings import IslandSettings
from kernelevolve.core.budget import Budget
from kernelevolve.core.task import Task
from tests.islands.doubles import DoubleEvaluator, DoubleOperator

CONF = Path(__file__).parents[2] / "conf"


def build(folder: Path, budget: Budget, operator: Any, evaluator: Any, search: str, **settings: Any) -> Archipelago:
    """An archipelago with the shipped settings but those named."""
    shipped: dict[str, Any] = dict(OmegaConf.load(CONF / "islands" / "default.yaml"))  # type: ignore[arg-type]
    plan = Plan(
        run="run",
        task=Task(name="double", source=""),
        device="cpu",
        facts={},
        operator=operator,
        evaluator=evaluator,
        settings=IslandSettings(**shipped | {"migration_interval": 5} | settings),
        seed=3,
    )
    strategy: Any = OmegaConf.to_container(OmegaConf.load(CONF / "search" / f"{search}.yaml"))
    return Archipelago(folder=folder, budget=budget, plan=plan, strategies=[strategy])


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
        budget: Budget, operator: Any = None, evaluator: Any = None, search: str = "evolutionary", **settings: Any
    ) -> Archipelago:
        evaluator = evaluator or DoubleEvaluator(marks)
        return build(tmp_path / "run", budget, operator or DoubleOperator(), evaluator, search, **settings)

    return make
