"""The budget of tokens and dollars of a run, checked before each request."""

from __future__ import annotations

import asyncio

from kernelevolve.core.budget import Budget
from kernelevolve.core.usage import Usage
from kernelevolve.llm.errors import BudgetExceededError


class Account:
    """What a run has spent, and what is reserved for requests in flight. For use in one event loop.

    Each reservation is the maximum that the request may cost, and the sum of both stays within the budget. The
    budget is exceeded at most by the amount by which prompts were underestimated.
    """

    def __init__(self, budget: Budget, spent: Usage) -> None:
        """Create the account. `spent` is the usage in earlier sessions of the run."""
        self._budget = budget
        self.spent = spent
        self._reserved: list[Usage] = []
        self._settled = asyncio.Event()

    async def reserve(self, most: Usage) -> None:
        """Reserve the maximum usage of a request. Wait if requests in flight may still leave enough.

        Raises:
            BudgetExceededError: The budget does not allow the request.
        """
        while not self._fits(self.spent + most, *self._reserved):
            if not self._fits(self.spent + most):
                raise BudgetExceededError(
                    f"the budget allows no request of up to {_words(most)}: {_words(self.spent)} are spent"
                )
            self._settled.clear()
            await self._settled.wait()
        self._reserved.append(most)

    def settle(self, most: Usage, used: Usage) -> None:
        """Release the reservation `most` and pay what was used."""
        self._reserved.remove(most)
        self.spent = self.spent + used
        self._settled.set()

    def _fits(self, *usages: Usage) -> bool:
        tokens, cost = self._budget.tokens, self._budget.cost
        return (tokens is None or sum(u.tokens for u in usages) <= tokens) and (
            cost is None or sum(u.cost for u in usages) <= cost
        )


def _words(usage: Usage) -> str:
    return f"{usage.tokens} tokens" + (f" and ${usage.cost:.4f}" if usage.cost else "")
