"""A run's budget of tokens and dollars, kept before a request goes out."""

from __future__ import annotations

import asyncio

from kernelevolve.core.budget import Budget
from kernelevolve.core.usage import Usage
from kernelevolve.llm.errors import OverspentError


class Account:
    """What a run has spent, and what is set aside for requests under way, each at the most that it may cost. For one event loop.

    Both together stay within the budget, so that it is overrun at most by what prompts were underestimated by.
    """

    def __init__(self, budget: Budget, spent: Usage) -> None:
        """`spent`: in earlier sessions of the run."""
        self._budget = budget
        self.spent = spent
        self._reserved: list[Usage] = []
        self._settled = asyncio.Event()

    async def reserve(self, most: Usage) -> None:
        """Set aside what a request may cost; waits while requests under way hold what may turn out to be enough.

        Raises OverspentError where it is not left.
        """
        while not self._fits(self.spent + most, *self._reserved):
            if not self._fits(self.spent + most):
                raise OverspentError(
                    f"the budget allows no request of up to {_words(most)}: {_words(self.spent)} are spent"
                )
            self._settled.clear()
            await self._settled.wait()
        self._reserved.append(most)

    def settle(self, most: Usage, used: Usage) -> None:
        """Give back what `reserve` set aside, and pay what was used."""
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
