"""The evaluator without Ray."""

from __future__ import annotations

import pytest

from devices.cpu import CpuDevice
from evaluators.base import Evaluator
from evaluators.service.local import LocalEvaluator, evaluate_locally
from evaluators.settings import EvaluationSettings
from kernelevolve.core.task import Task
from tests.conformance.evaluator import EvaluatorConformance
from tests.evaluators.silu_mul import TASK, python_kernel

pytestmark = pytest.mark.alone


class TestLocalEvaluator(EvaluatorConformance):
    @classmethod
    def open(cls, task: Task, settings: EvaluationSettings) -> Evaluator:
        return LocalEvaluator(task, CpuDevice(), settings)

    @classmethod
    def close(cls, evaluator: Evaluator) -> None:
        assert isinstance(evaluator, LocalEvaluator)
        evaluator.close()


def test_an_earlier_verdict_is_taken_where_that_is_asked_for(settings: EvaluationSettings) -> None:
    wrong, device = python_kernel("return x"), CpuDevice()
    keeping = settings.model_copy(update={"cache": True})
    first, second, anew = (
        next(evaluate_locally(TASK, [wrong], device, chosen)) for chosen in (keeping, keeping, settings)
    )
    assert (first.cached, second.cached, anew.cached) == (False, True, False)
    assert second.model_copy(update={"cached": False}) == first
