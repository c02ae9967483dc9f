"""The evaluator without Ray."""

from __future__ import annotations

from devices.registry import get_device
from evaluators.base import Evaluator
from evaluators.local import LocalEvaluator
from evaluators.settings import EvaluationSettings
from kernelevolve.core.task import Task
from tests.conformance.evaluator import EvaluatorConformance


class TestLocalEvaluator(EvaluatorConformance):
    @classmethod
    def open(cls, task: Task, settings: EvaluationSettings) -> Evaluator:
        return LocalEvaluator(task, get_device("cpu"), settings)

    @classmethod
    def close(cls, evaluator: Evaluator) -> None:
        assert isinstance(evaluator, LocalEvaluator)
        evaluator.close()
