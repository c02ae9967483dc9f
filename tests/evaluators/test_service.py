"""The service on real Ray."""

from __future__ import annotations

import asyncio
import time

import pytest
import ray

from devices.cpu import usable_cores
from evaluators.base import Evaluator
from evaluators.service import EvaluationService
from evaluators.settings import EvaluationSettings
from kernelevolve.core.evaluation import Evaluation, Status
from kernelevolve.core.task import Task
from tests.conformance.evaluator import EvaluatorConformance

from .conftest import TASK, python_kernel

RIGHT = "return torch.nn.functional.silu(x) * y * self.scale"


@pytest.mark.usefixtures("ray_cluster")
class TestEvaluationService(EvaluatorConformance):
    @classmethod
    def open(cls, task: Task, settings: EvaluationSettings) -> Evaluator:
        return EvaluationService.start(task, "cpu", settings)

    @classmethod
    def close(cls, evaluator: Evaluator) -> None:
        assert isinstance(evaluator, EvaluationService)
        evaluator.close()


@pytest.mark.usefixtures("ray_cluster")
def test_kernels_are_judged_side_by_side_and_none_twice_at_a_time(settings: EvaluationSettings) -> None:
    service = EvaluationService.start(TASK, "cpu", settings)
    ray.get(service.warm())
    kernels = [python_kernel(RIGHT), python_kernel("return x")]

    async def all_of_them() -> list[Evaluation]:
        return list(await asyncio.gather(*(service.evaluate(k) for k in [*kernels, kernels[0]])))

    right, wrong, again = asyncio.run(all_of_them())
    assert right.status is Status.OK
    assert wrong.status is Status.WRONG_RESULT
    assert again == right
    service.close()


@pytest.mark.usefixtures("ray_cluster")
def test_a_cancelled_evaluation_takes_no_judge(settings: EvaluationSettings) -> None:
    service = EvaluationService.start(TASK, "cpu", settings.model_copy(update={"workers": 1}))
    ray.get(service.warm())

    async def two_hang_and_one_is_cancelled() -> tuple[Evaluation, Evaluation, float]:
        begin = time.monotonic()
        first = asyncio.create_task(service.evaluate(python_kernel("while True: pass")))
        await asyncio.sleep(0.3)
        others = [asyncio.create_task(service.evaluate(python_kernel(f"while {n}: pass"))) for n in (1, 2, 3)]
        await asyncio.sleep(0.3)
        for other in others:
            other.cancel()
        right = await service.evaluate(python_kernel(RIGHT))
        return await first, right, time.monotonic() - begin

    first, right, seconds = asyncio.run(two_hang_and_one_is_cancelled())
    assert first.status is Status.TIMEOUT
    assert right.status is Status.OK
    assert seconds < 2 * settings.run_timeout
    service.close()


@pytest.mark.usefixtures("ray_cluster")
def test_kernels_have_every_core_and_the_record_says_so(settings: EvaluationSettings) -> None:
    """Ray gives its workers one thread."""
    service = EvaluationService.start(TASK, "cpu", settings)
    try:
        body = f"assert torch.get_num_threads() == {usable_cores()}"
        verdict = asyncio.run(
            service.evaluate(python_kernel(f"{body}\n        return torch.nn.functional.silu(x) * y * self.scale"))
        )
    finally:
        service.close()
    assert verdict.status is Status.OK, verdict.diagnosis
    assert verdict.environment["threads"] == str(usable_cores())
