"""Settings, and a pipeline for one task."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from devices.cpu import CpuDevice
from evaluators.runtime.base import Runtime
from evaluators.runtime.registry import open_runtime
from evaluators.service.pipeline import Pipeline
from evaluators.settings import EvaluationSettings
from tests.evaluators.silu_mul import TASK


@pytest.fixture(scope="session")
def settings() -> EvaluationSettings:
    plain = yaml.safe_load((Path(__file__).parents[2] / "conf/evaluation/default.yaml").read_text())
    once = {"kernelbench": {**plain["kernelbench"], "repeats": 0}}
    return EvaluationSettings.model_validate({**plain, **once, "run_timeout": 3.0, "memory_gb": 2.0, "cache": False})


@pytest.fixture(scope="session")
def runtime(settings: EvaluationSettings) -> Iterator[Runtime]:
    """One fork server for all pipelines that need only some."""
    with closing(open_runtime(settings)) as made:
        yield made


@pytest.fixture(scope="session")
def pipeline(settings: EvaluationSettings, runtime: Runtime) -> Iterator[Pipeline]:
    made = Pipeline(TASK, CpuDevice(), settings, runtime=runtime)
    made.warm()
    yield made
    made.close()
