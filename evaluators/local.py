"""Judging one kernel, or a task, without Ray."""

from __future__ import annotations

from devices.base import Device
from evaluators.pipeline import Pipeline
from evaluators.settings import EvaluationSettings
from kernelevolve.core.evaluation import Evaluation
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.task import Task


def evaluate_locally(task: Task, kernel: Kernel, device: Device, settings: EvaluationSettings) -> Evaluation:
    """The verdict on one kernel, its variants timed. Raises UserError where the task is at fault."""
    pipeline = Pipeline(task, device, settings)
    try:
        return pipeline.evaluate(kernel, variants=True)
    finally:
        pipeline.close()


def validate_task(task: Task, device: Device, settings: EvaluationSettings) -> None:
    """Run the reference. Raises UserError, one line, where it raises, returns no tensors, is not deterministic, does not fit."""
    pipeline = Pipeline(task, device, settings)
    try:
        pipeline.warm()
    finally:
        pipeline.close()
