"""Small references that are known to be got wrong: the reference itself passes as a kernel, and the built-in operator has a right one."""

from __future__ import annotations

import asyncio
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
from evaluators.verdict import FailedError
from kernelevolve import config
from kernelevolve.core.evaluation import Diagnosis, Evaluation, Status
from kernelevolve.core.graph import Draft, Expansion, Node, Phase
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.task import Task
from kernelevolve.synthesis.base import Context, Operator
from scripts.bench.breadth.trying import copy_of
from tests.cases.small_operators import SMALL_OPERATORS, SmallOperator
from tests.devices.here import this_machine

pytestmark = pytest.mark.thorough

_DRAFTS = 6
"""Within which one must be right: a few for each stage of the chain."""


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


def _complaint(pipeline: Pipeline, kernel: Kernel) -> Diagnosis | None:
    """Why a kernel is not right on every case; nothing is timed."""
    try:
        with pipeline.strict.checked_kernel(kernel, pipeline.compile(kernel), 1):
            return None
    except FailedError as error:
        return error.failure.diagnosis


def _node(draft: Draft, step: int, task: Task, complaint: Diagnosis | None) -> Node:
    evaluation = Evaluation(
        kernel_id=draft.kernel.id,
        task_id=task.id,
        device="cpu",
        status=Status.WRONG_RESULT,
        diagnosis=complaint,
    )
    return Node(
        id=str(step),
        run="test",
        island=0,
        step=step,
        phase=Phase.DRAFT,
        operator=draft.operator,
        kernel_id=draft.kernel.id,
        evaluation=evaluation,
    )


def _right_draft(pipeline: Pipeline, operator: Operator) -> tuple[Draft | None, list[str]]:
    """(the first draft that is right, why those before it are not)."""
    known: set[str] = set()
    complaints: list[str] = []
    for step in range(_DRAFTS):
        context = Context(task=pipeline.task, target=this_machine(), parents=(), history=(), known=known)
        draft = asyncio.run(operator.propose(Expansion(step=step, phase=Phase.DRAFT, seed=step), context))
        complaint = draft.rejected or _complaint(pipeline, draft.kernel)
        if complaint is None:
            return draft, complaints
        complaints.append(f"{draft.operator}: {complaint.summary}")
        known.add(draft.kernel.id)
        operator.tell(_node(draft, step, pipeline.task, complaint))
    return None, complaints


def test_it_passes_itself_and_has_a_right_kernel(pipeline: Pipeline) -> None:
    copy = Kernel(source=copy_of(pipeline.task.source), language="python")
    refused = _complaint(pipeline, copy)
    assert refused is None, f"the copy: {refused.summary}"
    operator = config.load([], task="x").operator.build("operator").prepare(pipeline.task)
    draft, complaints = _right_draft(pipeline, operator)
    assert draft is not None, complaints
    # What fails would only cost a search time; but no writer of ours may be wrong in silence.
    assert not [text for text in complaints if text.startswith("builtin/draft")], complaints
