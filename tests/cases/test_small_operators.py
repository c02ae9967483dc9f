"""Small references that are known to be got wrong: the reference itself passes as a kernel, and the built-in operator has a right one."""

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
from kernelevolve import config
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.task import Task
from scripts.bench.breadth.trying import copy_of
from scripts.bench.breadth.verdicts import complaint, first_right
from tests.cases.small_operators import SMALL_OPERATORS, SmallOperator

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="session")
def settings() -> EvaluationSettings:
    plain = yaml.safe_load((Path(__file__).parents[2] / "conf/evaluation/default.yaml").read_text())
    return EvaluationSettings.model_validate({**plain, "memory_gb": 2.0, "cache": False})


@pytest.fixture(scope="session")
def runtime(settings: EvaluationSettings) -> Iterator[Runtime]:
    with closing(open_runtime(settings)) as made:
        yield made


@pytest.fixture(params=SMALL_OPERATORS.values(), ids=SMALL_OPERATORS)
def pipeline(
    request: pytest.FixtureRequest, settings: EvaluationSettings, runtime: Runtime, tmp_path: Path
) -> Iterator[Pipeline]:
    case: SmallOperator = request.param
    task = Task(name=case.name, source=case.source)
    with closing(Pipeline(task, CpuDevice(), settings, tmp_path, runtime=runtime)) as made:
        made.warm()
        yield made


def test_it_passes_itself_and_has_a_right_kernel(pipeline: Pipeline) -> None:
    copy = Kernel(source=copy_of(pipeline.task.source), language="python")
    refused = complaint(pipeline, copy)
    assert refused is None, f"the copy: {refused.summary}"
    operator = config.load([], task="x").operator.build("operator").prepare(pipeline.task)
    found = first_right(pipeline, operator)
    assert found.draft is not None, found.complaints
    # What fails would only cost a search time; but no writer of ours may be wrong in silence.
    assert not [text for text in found.complaints if text.startswith("builtin/draft")], found.complaints
