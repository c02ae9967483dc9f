"""An instant operator and an instant evaluator: what is left is the search itself."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from random import Random

from kernelevolve.core.evaluation import Evaluation, Measurement, Ratio, Status
from kernelevolve.core.graph import Draft, Expansion
from kernelevolve.core.kernel import Kernel
from kernelevolve.synthesis.base import Context, Operator


class InstantOperator(Operator):
    """A new text for every seed, three kilobytes long, as a small kernel is."""

    async def propose(self, expansion: Expansion, context: Context) -> Draft:
        del context
        source = f"# {expansion.seed}\n" + "# a line of a kernel that does nothing at all\n" * 64
        move = ("draft", "mutate", "crossover")[len(expansion.parents)]
        return Draft(kernel=Kernel(source=source, language="python"), operator=f"instant/{move}")


class InstantEvaluator:
    """A verdict that follows from the kernel's id."""

    async def evaluate(self, kernel: Kernel) -> Evaluation:
        value = Random(kernel.id).lognormvariate(0.0, 0.5)
        ratio = Ratio(value=value, low=value * 0.99, high=value * 1.01)
        return Evaluation(
            kernel_id=kernel.id,
            task_id="instant",
            device="none",
            status=Status.OK,
            measurement=Measurement(speedup=ratio, reference_seconds=value, kernel_seconds=1.0, rounds=10),
        )


@dataclass
class SleepingEvaluator(InstantEvaluator):
    """The same verdicts, each after so many seconds in one of so many slots, which each process that holds it has."""

    seconds: float
    slots: int
    _free: asyncio.Semaphore | None = field(default=None, init=False)

    async def evaluate(self, kernel: Kernel) -> Evaluation:
        if self._free is None:
            self._free = asyncio.Semaphore(self.slots)
        async with self._free:
            await asyncio.sleep(self.seconds)
        return await super().evaluate(kernel)
