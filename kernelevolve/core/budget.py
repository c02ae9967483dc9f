"""The budget of a run, and the conditions that end it."""

from __future__ import annotations

from pydantic import Field

from kernelevolve.core.record import Record
from kernelevolve.core.usage import Usage


class Spent(Record):
    """What a run has used so far, over all its sessions."""

    seconds: float = Field(default=0.0, ge=0)
    """The wall-clock seconds of the search."""
    evaluations: int = Field(default=0, ge=0)
    """The number of evaluated kernels: distinct kernels that became nodes, and kernels that agents had evaluated along
    the way. Results from the cache do not count.
    """
    best_fitness: float = Field(default=0.0, ge=0)
    """The best measured fitness. Rough estimates do not count, so they end no run."""
    since_improvement: int = Field(default=0, ge=0)
    """The number of evaluations since the best fitness last rose."""
    usage: Usage = Usage()
    """The tokens and the cost of models."""


class Budget(Record):
    """The limits of a run. A run ends as soon as one of them is reached; `None` sets no limit."""

    seconds: float | None = Field(default=None, gt=0)
    """The maximum wall-clock seconds of the search."""
    evaluations: int | None = Field(default=None, gt=0)
    """The maximum number of evaluations."""
    fitness: float | None = Field(default=None, gt=0)
    """The fitness (speedup) at which the run ends."""
    patience: int | None = Field(default=None, gt=0)
    """The number of evaluations without an improvement after which the run ends."""
    tokens: int | None = Field(default=None, gt=0)
    """The maximum number of tokens that models read and write."""
    cost: float | None = Field(default=None, gt=0)
    """The maximum cost of models in US dollars."""

    def reached(self, spent: Spent) -> str | None:
        """Return a description of the limit that is reached, or None if the run goes on."""
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
        """Return the largest used fraction of seconds, evaluations, tokens and cost, in [0, 1]."""
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
