"""The selection of earlier nodes that an operator is shown with an expansion."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from kernelevolve.core.graph import Expansion, Memory, Node
from kernelevolve.core.kernel import Kernel
from kernelevolve.search.frontier import Ranked
from kernelevolve.store.actor import Entry
from kernelevolve.store.client import StoreClient
from kernelevolve.synthesis.base import Parent

_CACHED = 512


class History:
    """The ancestors and children of nodes by id. Of each node's children it keeps the fittest and the latest."""

    def __init__(self, shown: int) -> None:
        self._shown = shown
        self._parents: dict[str, tuple[str, ...]] = {}
        self._children: dict[str, list[Ranked]] = {}
        self._fitness: dict[str, float] = {}

    def tell(self, node: Node) -> None:
        """Add a node."""
        number = len(self._parents)
        self._parents[node.id] = node.parents
        self._fitness[node.id] = node.fitness
        for parent in node.parents:
            children = self._children.setdefault(parent, [])
            children.append(Ranked(-node.fitness, number, node.id))
            if len(children) > 2 * self._shown:
                # One half for the fittest, the other for the latest, which may be failures.
                kept = set(sorted(children)[: self._shown]) | set(children[-self._shown :])
                self._children[parent] = [child for child in children if child in kept]

    def choose(self, expansion: Expansion) -> list[str]:
        """Return the ids of the nodes that the expansion's memory mode asks for, fittest first, at most `shown`."""
        chosen: dict[str, None] = {}
        if expansion.memory in (Memory.PARENT, Memory.BOTH):
            chosen |= dict.fromkeys(self._ancestors(expansion.parents))
        if expansion.memory in (Memory.SIBLINGS, Memory.BOTH):
            for parent in expansion.parents:
                chosen |= dict.fromkeys(child.id for child in self._children.get(parent, ()))
        for parent in expansion.parents:
            chosen.pop(parent, None)
        return sorted(chosen, key=lambda node_id: -self._fitness[node_id])[: self._shown]

    def _ancestors(self, node_ids: Sequence[str]) -> list[str]:
        """Return the nearest ancestors, level by level. The parents of a migrant may be unknown on this island."""
        found: dict[str, None] = {}
        level = list(node_ids)
        while level and len(found) < self._shown:
            level = [
                parent for node_id in level for parent in self._parents.get(node_id, ()) if parent in self._parents
            ]
            found |= dict.fromkeys(level)
        return list(found)


class Library:
    """Nodes with their kernels. The most recently used ones are cached; the others come from the store."""

    def __init__(self, store: StoreClient) -> None:
        self._store = store
        self._recent: OrderedDict[str, Parent] = OrderedDict()

    def add(self, node: Node, kernel: Kernel) -> None:
        """Put a node and its kernel into the cache."""
        self._recent[node.id] = Parent(node, kernel)
        self._recent.move_to_end(node.id)
        if len(self._recent) > _CACHED:
            self._recent.popitem(last=False)

    async def get(self, node_ids: Sequence[str]) -> tuple[Parent, ...]:
        """Return the nodes with their kernels in the order of the ids. Raises KeyError for an unknown id."""
        missing = [node_id for node_id in node_ids if node_id not in self._recent]
        found = {node_id: self._recent[node_id] for node_id in node_ids if node_id in self._recent}
        if missing:
            entries: list[Entry] = await self._store.fetch(missing)
            for node, kernel in entries:
                found[node.id] = Parent(node, kernel)
                self.add(node, kernel)
        for node_id in node_ids:
            if node_id in self._recent:
                self._recent.move_to_end(node_id)
        return tuple(found[node_id] for node_id in node_ids)
