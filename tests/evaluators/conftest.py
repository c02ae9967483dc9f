"""A task, a pipeline, and kernels that behave and misbehave."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from devices.registry import get_device
from evaluators.pipeline import Pipeline
from evaluators.settings import EvaluationSettings
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.task import Task

TASK = Task(
    name="silu_mul",
    source='''"""A test."""

import torch
from torch import nn


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.randn(256))

    def forward(self, x, y):
        return torch.nn.functional.silu(x) * y * self.scale


def get_inputs():
    return [torch.randn(512, 256), torch.randn(512, 256)]


def get_init_inputs():
    return []


def get_input_variants():
    return {"short": [torch.randn(3, 256), torch.randn(3, 256)]}
''',
)


def python_kernel(forward: str, top: str = "") -> Kernel:
    """A kernel whose forward(self, x, y) has this body."""
    return Kernel(
        language="python",
        source=f"""import os
import torch
from torch import nn
{top}

class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.randn(256))

    def forward(self, x, y):
        {forward}
""",
    )


@pytest.fixture(scope="session")
def settings() -> EvaluationSettings:
    plain = yaml.safe_load((Path(__file__).parents[2] / "conf/evaluation/default.yaml").read_text())
    once = {"kernelbench": {**plain["kernelbench"], "repeats": 0}}
    return EvaluationSettings.model_validate({**plain, **once, "run_timeout": 3.0, "memory_gb": 2.0, "cache": False})


@pytest.fixture(scope="session")
def pipeline(settings: EvaluationSettings) -> Iterator[Pipeline]:
    made = Pipeline(TASK, get_device("cpu"), settings)
    made.warm()
    yield made
    made.close()


MEASURING = {
    "corpus",
    "comparison",
    "confinement",
    "hostile",
    "kernelbench",
    "local",
    "machine",
    "pipeline",
    "service",
    "aten",
    "usage",
    "disturbance",
}
"""Files of these names time kernels, or wait for those who do: they have the machine to themselves."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent and item.path.stem.removeprefix("test_") in MEASURING:
            item.add_marker(pytest.mark.alone)
