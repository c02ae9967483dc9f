"""The interface of an evaluator."""

from __future__ import annotations

from typing import Protocol

from kernelevolve.core.evaluation import Evaluation
from kernelevolve.core.kernel import Kernel


class Evaluator(Protocol):
    """Evaluates kernels of one task on one device."""

    async def evaluate(self, kernel: Kernel) -> Evaluation:
        """Evaluate a kernel. Cancelling the awaiting task cancels the evaluation.

        Args:
            kernel: The kernel to evaluate.

        Returns:
            The evaluation. A kernel that fails gets a failed status; it never makes this method raise.

        Raises:
            InfrastructureError: The evaluator itself failed.
            UserError: The evaluator cannot work with this configuration or on this machine.
        """
        ...
