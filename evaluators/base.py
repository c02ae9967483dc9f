"""The evaluation seam."""

from __future__ import annotations

from typing import Protocol

from kernelevolve.core.evaluation import Evaluation
from kernelevolve.core.kernel import Kernel


class Evaluator(Protocol):
    """Judges kernels of one task on one device."""

    async def evaluate(self, kernel: Kernel) -> Evaluation:
        """The verdict. Never raises for what a kernel did; raises for what we did.

        Cancelling the awaiting task cancels the evaluation.
        """
        ...
