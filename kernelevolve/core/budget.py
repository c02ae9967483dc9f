"""Termination: when a run has done enough."""

from __future__ import annotations

from pydantic import Field

from kernelevolve.core.record import Record
from kernelevolve.core.usage import Usage


class Spent(Record):
    """What a run has used up so far, over all its sessions."""

    seconds: float = Field(default=0.0, ge=0)
    evaluations: int = Field(default=0, ge=0)
    """Distinct kernels that became nodes, and those that agents had judged on the way; answers from the cache do not count."""
    best_fitness: float = Field(default=0.0, ge=0)
    """As measured: guesses end no run."""
    since_improvement: int = Field(default=0, ge=0)
    """Evaluations since the best fitness last rose."""
    usage: Usage = Usage()
    """Of models."""


class Budget(Record):
    """A run ends as soon as one of these is reached; `None` sets no limit."""

    seconds: float | None = Field(default=None, gt=0)
    evaluations: int | None = Field(default=None, gt=0)
    fitness: float | None = Field(default=None, gt=0)
    patience: int | None = Field(default=None, gt=0)
    """Evaluations without an improvement."""
    tokens: int | None = Field(default=None, gt=0)
    """That models read and write."""
    cost: float | None = Field(default=None, gt=0)
    """Of models, in US dollars."""

    def reached(self, spent: Spent) -> str | None:
        """The rule that ends the run now, in words, or None."""
        if self.seconds is not None and spent.seconds >= self.seconds:
            return f"{self.seconds:g} s are over"
        if self.evaluations is not None and spent.evaluations >= self.evaluations:
            return f"{self.evaluations} evaluations are done"
        if self.fitness is not None and spent.best_fitness >= self.fitness:
            return f"a speedup of {self.fitness:g} is reached"
        if self.patience is not None and spent.best_fitness > 0 and spent.since_improvement >= self.patience:
            return f"{self.patience} evaluations brought no improvement"
        if self.tokens is not None and spent.usage.tokens >= self.tokens:
            return f"{self.tokens} tokens are used"
        if self.cost is not None and spent.usage.cost >= self.cost:
            return f"{self.cost:g} dollars are spent"
        return None

    def fraction(self, spent: Spent) -> float:
        """How much of the tightest of seconds, evaluations, tokens and dollars is used, 0 to 1."""
        parts = [0.0]
        if self.seconds is not None:
            parts.append(spent.seconds / self.seconds)
        if self.evaluations is not None:
            parts.append(spent.evaluations / self.evaluations)
        if self.tokens is not None:
            parts.append(spent.usage.tokens / self.tokens)
        if self.cost is not None:
            parts.append(spent.usage.cost / self.cost)
        return min(1.0, max(parts))
