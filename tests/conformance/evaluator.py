"""What every evaluator must do; a test module derives from `EvaluatorConformance`."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator

import pytest

from evaluators.base import Evaluator
from evaluators.sandbox.landlock import version
from evaluators.settings import EvaluationSettings
from kernelevolve.core.errors import UserError
from kernelevolve.core.evaluation import Status
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.task import Task

TASK = Task(
    name="double",
    source="""import torch


class Model(torch.nn.Module):
    def forward(self, x):
        return x + x


def get_inputs():
    return [torch.randn(64, 64)]
""",
)


def kernel(forward: str) -> Kernel:
    """A kernel in Python whose forward(self, x) has this body."""
    lines = ["import os, torch", "class ModelNew(torch.nn.Module):", "    def forward(self, x):", f"        {forward}"]
    return Kernel(source="\n".join(lines), language="python")


RIGHT = kernel("return 2 * x")
ENDLESS = kernel("while True: pass")


class EvaluatorConformance(ABC):
    @classmethod
    @abstractmethod
    def open(cls, task: Task, settings: EvaluationSettings) -> Evaluator:
        """An evaluator for the CPU."""

    @classmethod
    @abstractmethod
    def close(cls, evaluator: Evaluator) -> None: ...

    @pytest.fixture(scope="class")
    @classmethod
    def evaluator(cls, settings: EvaluationSettings) -> Iterator[Evaluator]:
        made = cls.open(TASK, settings)
        yield made
        cls.close(made)

    def test_a_right_kernel_has_a_measurement(self, evaluator: Evaluator) -> None:
        verdict = asyncio.run(evaluator.evaluate(RIGHT))
        assert verdict.status is Status.OK, verdict.diagnosis
        assert (verdict.kernel_id, verdict.task_id, verdict.device) == (RIGHT.id, TASK.id, "cpu")
        assert verdict.fitness > 0
        assert verdict.seconds
        assert verdict.environment["torch"]

    @pytest.mark.parametrize(
        ("bad", "status"),
        [
            (kernel("return x"), Status.WRONG_RESULT),
            (kernel("return (2 * x).double()"), Status.WRONG_SHAPE),
            (kernel("raise SystemExit(0)"), Status.CRASHED),
            (kernel("raise KeyError(x)"), Status.RUNTIME_ERROR),
            (kernel("os.kill(os.getpid(), 9)"), Status.CRASHED),
            (kernel("os.kill(os.getppid(), 9)"), Status.RUNTIME_ERROR if version() >= 6 else Status.CRASHED),
            (ENDLESS, Status.TIMEOUT),
            (Kernel(source="\0", language="python"), Status.INVALID_SOURCE),
            (Kernel(source=RIGHT.source, language="no such language"), Status.INVALID_SOURCE),
        ],
    )
    def test_whatever_a_kernel_does_is_a_verdict(self, evaluator: Evaluator, bad: Kernel, status: Status) -> None:
        verdict = asyncio.run(evaluator.evaluate(bad))
        assert verdict.status is status, verdict.diagnosis
        assert verdict.kernel_id == bad.id
        assert verdict.diagnosis is not None
        assert verdict.diagnosis.stage
        assert len(verdict.diagnosis.summary.splitlines()) == 1

    def test_many_may_ask_at_once(self, evaluator: Evaluator) -> None:
        kernels = [RIGHT, kernel("return x"), RIGHT, kernel("return x * 2")]

        async def ask() -> list[Status]:
            return [verdict.status for verdict in await asyncio.gather(*map(evaluator.evaluate, kernels))]

        assert asyncio.run(ask()) == [Status.OK, Status.WRONG_RESULT, Status.OK, Status.OK]

    def test_a_cancelled_evaluation_ends_at_once_and_spoils_nothing(
        self, evaluator: Evaluator, settings: EvaluationSettings
    ) -> None:
        async def cancel_then_ask() -> tuple[float, Status]:
            asked = asyncio.create_task(evaluator.evaluate(ENDLESS))
            await asyncio.sleep(0.3)
            begin = time.monotonic()
            asked.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asked
            seconds = time.monotonic() - begin
            return seconds, (await evaluator.evaluate(RIGHT)).status

        seconds, status = asyncio.run(cancel_then_ask())
        assert seconds < settings.run_timeout / 2
        assert status is Status.OK

    def test_a_task_at_fault_is_raised(self, settings: EvaluationSettings) -> None:
        made = self.open(Task(name="broken", source=TASK.source.replace("x + x", "x + y")), settings)
        with pytest.raises(UserError, match="task broken"):
            asyncio.run(made.evaluate(RIGHT))
        self.close(made)
