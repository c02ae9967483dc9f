"""The interface of search strategies: ask for the next expansion, tell the resulting node."""

from __future__ import annotations

from abc import ABC, abstractmethod

from pydantic import Field

from kernelevolve.core.graph import Expansion, Node
from kernelevolve.core.record import Record


class View(Record):
    """The information that a strategy gets with a request, besides the nodes it has received."""

    step: int = Field(ge=0)
    """The logical step of this request. The expansion carries it."""
    island: int = Field(default=0, ge=0)
    """The island that asks."""
    in_flight: tuple[Expansion, ...] = ()
    """The expansions whose nodes are not inserted yet."""
    fraction: float = Field(default=0.0, ge=0, le=1)
    """The used fraction of the budget."""


class Strategy(ABC):
    """Decides what to expand next.

    All state follows from the seed and from the sequence of nodes received. A new instance that receives the log of
    a run has the same state, and gives the same answers to the same views. `ask` changes no state: its random
    choices follow from the seed and from `view.step`.
    """

    @abstractmethod
    def ask(self, view: View) -> Expansion:
        """Return the next expansion.

        Its parents are nodes that were received by `tell`. Before the first node it is a draft.
        """

    @abstractmethod
    def tell(self, node: Node) -> None:
        """Receive an inserted node: one of this island, or a migrant, whose `node.island` differs."""
