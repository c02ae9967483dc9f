"""The runners of the reference, kept from one measurement to the next."""

from __future__ import annotations

from evaluators.runtime.base import Runner, Runtime
from evaluators.settings import EvaluationSettings
from evaluators.verdict import FailedError, Failure
from kernelevolve.core.errors import UserError
from kernelevolve.core.evaluation import Status
from kernelevolve.core.task import Task

_ENDLESS = 1e9
"""The seconds of processor time of the reference, which are in effect unlimited."""


class ReferencePool:
    """A pool of runners that hold the reference in eager PyTorch. Call `end` in the end."""

    def __init__(self, task: Task, settings: EvaluationSettings, runtime: Runtime) -> None:
        self._task = task
        self._settings = settings
        self._runtime = runtime
        self.runners: list[Runner] = []

    def get(self, count: int, input_bytes: int) -> list[Runner]:
        """Return runners that are ready to be timed.

        Args:
            count: The number of runners.
            input_bytes: The bytes of memory for inputs of each runner.

        Raises:
            UserError: The reference cannot be built.
        """
        self.runners = [runner for runner in self.runners if runner.alive]
        while len(self.runners) < count:
            runner = self._runtime.spawn(input_bytes, trusted=True, memory_gb=None, processor_seconds=_ENDLESS)
            runner.stage = "timing"
            self.runners.append(runner)
            runner.allow(10 * self._settings.run_timeout)
            try:
                runner.load_reference(self._task)
                runner.build()
            except FailedError as error:
                raise self.untimeable(error.failure) from error
        return self.runners[:count]

    def end(self) -> None:
        """End all runners."""
        while self.runners:
            self.runners.pop().end()

    def untimeable(self, failure: Failure) -> UserError:
        """Return the error to raise when the reference itself failed. All runners are ended."""
        self.end()
        name = f"task {self._task.name}: the reference"
        match failure.status:
            case Status.TIMEOUT:
                limit = self._settings.run_timeout
                return UserError(f"{name} cannot be timed within {limit:g} s: raise evaluation.run_timeout")
            case Status.OUT_OF_MEMORY:
                return UserError(f"{name} does not fit in memory, when called several times: make the inputs smaller")
            case _:
                return UserError(f"{name} cannot be timed: {failure.summary}")
