"""The strategy seam: ask what to expand next, tell what came of it."""

from __future__ import annotations

from abc import ABC, abstractmethod

from pydantic import Field

from kernelevolve.core.graph import Expansion, Node
from kernelevolve.core.record import Record


class View(Record):
    """What a strategy sees besides the nodes that it was told."""

    step: int = Field(ge=0)
    """The logical step of this ask; the expansion carries it."""
    island: int = Field(default=0, ge=0)
    """That asks."""
    in_flight: tuple[Expansion, ...] = ()
    """Asked for and not told yet."""
    fraction: float = Field(default=0.0, ge=0, le=1)
    """Of the budget that is spent."""


class Strategy(ABC):
    """Decides what to expand next.

    All state follows from the seed and the nodes told, in order: telling a new instance the log of a run gives the same
    state, and the same answers to the same views. `ask` changes no state; its random choices follow from the seed and
    `view.step`.
    """

    @abstractmethod
    def ask(self, view: View) -> Expansion:
        """The next expansion. Its parents are nodes that were told. Before the first node is told it is a draft."""

    @abstractmethod
    def tell(self, node: Node) -> None:
        """A node was inserted: one of this island's own, or a migrant (then `node.island` differs)."""
