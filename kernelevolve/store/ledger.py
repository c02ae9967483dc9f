"""Who evaluates which kernel, and how many evaluations the budget still holds: in memory, for one session."""

from __future__ import annotations

from collections.abc import Set
from enum import Enum

from kernelevolve.core.budget import Budget, Spent


class Claim(Enum):
    """The answer to an island that wants a kernel evaluated."""

    GRANTED = "granted"
    """Evaluate it: a place in the budget is kept until it is settled."""
    KNOWN = "known"
    """A node has it."""
    BUSY = "busy"
    """Another candidate with the same kernel is being evaluated."""
    WAIT = "wait"
    """Every evaluation of the budget is under way; one that fails to give a verdict frees its place."""
    OVER = "over"
    """The run has ended."""


class Ledger:
    """Claims on kernels, counted against a budget, so that no kernel is evaluated twice and no evaluation too many.

    A claim has an owner, an island's incarnation; the claims of one that died are released together.
    """

    def __init__(self, budget: Budget, max_repeats: int) -> None:
        self._budget = budget
        self._max_repeats = max_repeats
        self._repeats = 0
        self._owners: dict[str, tuple[int, int]] = {}
        self._reason: str | None = None

    @property
    def reason(self) -> str | None:
        """Why the run has ended, or None."""
        return self._reason

    @property
    def claimed(self) -> Set[str]:
        """The kernels under evaluation."""
        return self._owners.keys()

    def finish(self, reason: str) -> None:
        """End the run: no claim is granted from now on."""
        self._reason = self._reason or reason

    def check(self, spent: Spent) -> None:
        """End the run if its budget says so."""
        reason = self._budget.reached(spent)
        if reason:
            self.finish(reason)

    def claim(self, kernel_id: str, owner: tuple[int, int], spent: Spent) -> Claim:
        """Ask for the evaluation of a kernel that no node has. An island's own candidates count like others'."""
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
        """A node with the kernel was inserted. Too many in a row that brought nothing new end the run."""
        self.release(kernel_id, owner)
        self._repeats = self._repeats + 1 if cached else 0
        if self._repeats >= self._max_repeats:
            self.finish(f"the last {self._repeats} proposals were known kernels")

    def release(self, kernel_id: str, owner: tuple[int, int]) -> None:
        """Give a claim back, where the owner holds it."""
        if self._owners.get(kernel_id) == owner:
            del self._owners[kernel_id]

    def release_island(self, island: int) -> None:
        """Give every claim of an island back."""
        self._owners = {kernel_id: owner for kernel_id, owner in self._owners.items() if owner[0] != island}
