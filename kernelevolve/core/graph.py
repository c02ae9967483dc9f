"""The search graph: nodes, what a strategy asks for, what an operator answers."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Self

from pydantic import Field, model_validator

from kernelevolve.core.evaluation import Diagnosis, Evaluation
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.record import Record
from kernelevolve.core.usage import Usage


class Phase(StrEnum):
    """Drafts are independent samples without memory; expansions build on nodes that are known."""

    DRAFT = "draft"
    EXPAND = "expand"


class Memory(StrEnum):
    """What of the history an operator is shown."""

    PARENT = "parent"
    SIBLINGS = "siblings"
    BOTH = "both"
    CLEAN = "clean"


class Expansion(Record):
    """What a strategy wants next: a draft (no parents), a change of one parent, or a crossover of several."""

    step: int = Field(ge=0)
    """The logical step of the island; the n-th ask has step n."""
    phase: Phase
    parents: tuple[str, ...] = ()
    """Ids of nodes."""
    memory: Memory = Memory.CLEAN
    seed: int = Field(ge=0)
    """Of every random choice in carrying this expansion out."""

    @model_validator(mode="after")
    def _parents_fit_the_phase(self) -> Self:
        if (self.phase is Phase.DRAFT) != (not self.parents):
            raise ValueError("a draft has no parents, an expansion has at least one")
        if len(set(self.parents)) != len(self.parents):
            raise ValueError("a parent is named twice")
        return self


class Draft(Record):
    """An operator's answer to an expansion: a kernel that nobody has judged yet."""

    kernel: Kernel
    operator: str = Field(min_length=1)
    """Who made it and how, as `operator/move`: `builtin/draft`, `builtin/mutate`, `builtin/crossover`, ..."""
    note: str = ""
    """What was changed, in a line for a person."""
    traits: Mapping[str, float] = {}
    """What tells kernels apart besides their speed, by name, all positive; where the operator knows it."""
    usage: Usage = Usage()
    """That making it took."""
    model: str = ""
    """That wrote it; nothing where none did."""
    exchanges: tuple[int, ...] = ()
    """With that model, by their numbers in the run's recording."""
    rejected: Diagnosis | None = None
    """Why it is no kernel, where it is none: it is not judged."""
    trials: int = Field(default=0, ge=0)
    """Kernels that were judged while it was made."""


class Node(Record):
    """A judged kernel in the search graph. Insert-only: nothing about a node ever changes."""

    id: str = Field(min_length=1)
    """Unique in a store: `<run>.<island>.<step>`."""
    run: str
    island: int = Field(ge=0)
    """The island that made it. A migrant keeps it."""
    step: int = Field(ge=0)
    phase: Phase
    parents: tuple[str, ...] = ()
    operator: str
    note: str = ""
    kernel_id: str
    evaluation: Evaluation
    traits: Mapping[str, float] = {}
    """As its draft's."""
    usage: Usage = Usage()
    """Of its draft, and of those before it that were known kernels."""
    model: str = ""
    """As its draft's,"""
    exchanges: tuple[int, ...] = ()
    """and these of the drafts before it as well,"""
    trials: int = Field(default=0, ge=0)
    """and these."""
    cached: bool = False
    """The evaluation was taken from an earlier node with the same kernel."""
    seconds: float = Field(default=0.0, ge=0)
    """Since the start of the run, over all its sessions, when the node was inserted."""

    @model_validator(mode="after")
    def _evaluation_is_of_this_kernel(self) -> Self:
        if self.evaluation.kernel_id != self.kernel_id:
            raise ValueError("the evaluation belongs to another kernel")
        return self

    @property
    def fitness(self) -> float:
        return self.evaluation.fitness
