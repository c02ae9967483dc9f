"""The claims on kernels and the evaluations left in the budget, in memory for one session."""

from __future__ import annotations

from collections.abc import Set
from enum import Enum

from kernelevolve.core.budget import Budget, Spent


class Claim(Enum):
    """The answer to an island that wants to evaluate a kernel."""

    GRANTED = "granted"
    """The island may evaluate the kernel. One evaluation of the budget is reserved until the claim is settled."""
    KNOWN = "known"
    """A node already has the kernel."""
    BUSY = "busy"
    """Another candidate with the same kernel is being evaluated."""
    WAIT = "wait"
    """All evaluations left in the budget are reserved. One that is released becomes available again."""
    OVER = "over"
    """The run has ended."""


class Ledger:
    """Claims on kernels, counted against the budget: no kernel is evaluated twice, and the budget is not exceeded.

    A claim has an owner: an island and its epoch. When an island's process dies, all its claims are released.
    """

    def __init__(self, budget: Budget, max_repeats: int) -> None:
        """Create a ledger. `max_repeats` is the number of known kernels in a row that ends the run."""
        self._budget = budget
        self._max_repeats = max_repeats
        self._repeats = 0
        self._owners: dict[str, tuple[int, int]] = {}
        self._reason: str | None = None

    @property
    def reason(self) -> str | None:
        """The reason why the run has ended, or None."""
        return self._reason

    @property
    def claimed(self) -> Set[str]:
        """The ids of the kernels under evaluation."""
        return self._owners.keys()

    def finish(self, reason: str) -> None:
        """End the run. No claim is granted from now on."""
        self._reason = self._reason or reason

    def check(self, spent: Spent) -> None:
        """End the run if its budget is reached."""
        reason = self._budget.reached(spent)
        if reason:
            self.finish(reason)

    def claim(self, kernel_id: str, owner: tuple[int, int], spent: Spent) -> Claim:
        """Ask to evaluate a kernel that no node has. Another candidate of the same island counts like any other."""
        self.check(spent)
        if self._reason:
            return Claim.OVER
        if kernel_id in self._owners:
            return Claim.BUSY
        limit = self._budget.evaluations
        if limit is not None and spent.evaluations + len(self._owners) >= limit:
            return Claim.WAIT
        self._owners[kernel_id] = owner
        return Claim.GRANTED

    def settle(self, kernel_id: str, owner: tuple[int, int], cached: bool) -> None:
        """Record that a node with the kernel was inserted. Too many known kernels in a row end the run."""
        self.release(kernel_id, owner)
        self._repeats = self._repeats + 1 if cached else 0
        if self._repeats >= self._max_repeats:
            self.finish(f"the last {self._repeats} proposals were known kernels")

    def release(self, kernel_id: str, owner: tuple[int, int]) -> None:
        """Release a claim if the owner holds it."""
        if self._owners.get(kernel_id) == owner:
            del self._owners[kernel_id]

    def release_island(self, island: int) -> None:
        """Release every claim of an island."""
        self._owners = {kernel_id: owner for kernel_id, owner in self._owners.items() if owner[0] != island}
