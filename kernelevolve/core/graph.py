"""The search graph: nodes, the expansions that strategies request, and the drafts that operators return."""

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
    """The phase of a search: drafts are independent samples, expansions build on existing nodes."""

    DRAFT = "draft"
    EXPAND = "expand"


class Memory(StrEnum):
    """The part of the history that an operator is shown."""

    PARENT = "parent"
    """The ancestors of the parents."""
    SIBLINGS = "siblings"
    """The other children of the parents."""
    BOTH = "both"
    """The ancestors and the other children of the parents."""
    CLEAN = "clean"
    """Nothing besides the parents."""


class Expansion(Record):
    """A request of a strategy: a draft (no parents), a change of one parent, or a crossover of several."""

    step: int = Field(ge=0)
    """The logical step of the island. The n-th request has step n."""
    phase: Phase
    parents: tuple[str, ...] = ()
    """The ids of the parent nodes."""
    memory: Memory = Memory.CLEAN
    seed: int = Field(ge=0)
    """The seed of every random choice in carrying out this expansion."""

    @model_validator(mode="after")
    def _parents_fit_the_phase(self) -> Self:
        if (self.phase is Phase.DRAFT) != (not self.parents):
            raise ValueError("a draft has no parents, an expansion has at least one")
        if len(set(self.parents)) != len(self.parents):
            raise ValueError("a parent is named twice")
        return self


class Draft(Record):
    """An operator's response to an expansion: a kernel that is not evaluated yet."""

    kernel: Kernel
    operator: str = Field(min_length=1)
    """The operator and its move: `builtin/draft`, `builtin/mutate`, `builtin/crossover`, ..."""
    note: str = ""
    """A description of the change in one line, for people."""
    traits: Mapping[str, float] = {}
    """Name -> positive value of the features that distinguish kernels besides their speed, if the operator knows them.
    """
    usage: Usage = Usage()
    """The tokens and the cost of models for this draft."""
    model: str = ""
    """The model that wrote the kernel; empty if none did."""
    exchanges: tuple[int, ...] = ()
    """The numbers of the exchanges with the model in the run's recording."""
    rejected: Diagnosis | None = None
    """The reason why the source is not a kernel; None if it is one. A rejected draft is not evaluated."""
    extra_evaluations: int = Field(default=0, ge=0)
    """The number of kernels that were evaluated while the draft was made."""


class Node(Record):
    """An evaluated kernel in the search graph. Nodes are inserted once and never change."""

    id: str = Field(min_length=1)
    """The id, unique in a store: `<run>.<island>.<step>`."""
    run: str
    island: int = Field(ge=0)
    """The island that made the node. A migrant keeps it."""
    step: int = Field(ge=0)
    """The logical step of the expansion."""
    phase: Phase
    parents: tuple[str, ...] = ()
    """The ids of the parent nodes."""
    operator: str
    """The operator and the move of its draft."""
    note: str = ""
    """The note of its draft."""
    kernel_id: str
    evaluation: Evaluation
    traits: Mapping[str, float] = {}
    """The traits of its draft."""
    usage: Usage = Usage()
    """The usage of its draft, and of the discarded drafts before it that repeated known kernels."""
    model: str = ""
    """The model of its draft."""
    exchanges: tuple[int, ...] = ()
    """The numbers of the exchanges for its draft and for the discarded drafts before it."""
    extra_evaluations: int = Field(default=0, ge=0)
    """The number of kernels evaluated for its draft and for the discarded drafts before it."""
    cached: bool = False
    """Whether the evaluation was taken from an earlier node with the same kernel."""
    seconds: float = Field(default=0.0, ge=0)
    """The seconds from the start of the run, over all its sessions, to the insertion of the node."""

    @model_validator(mode="after")
    def _evaluation_is_of_this_kernel(self) -> Self:
        if self.evaluation.kernel_id != self.kernel_id:
            raise ValueError("the evaluation belongs to another kernel")
        return self

    @property
    def fitness(self) -> float:
        """The fitness of the evaluation."""
        return self.evaluation.fitness
