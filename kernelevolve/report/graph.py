"""Views of a run's graph: an overview, and the neighbourhood of one node."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from kernelevolve.core.errors import UserError
from kernelevolve.core.graph import Node
from kernelevolve.store.reader import GraphReader, Origin

_GENERATIONS = 1000
"""The maximum length of a lineage."""
_RELATIVES = 50
"""The maximum number of siblings or children that are shown."""


@dataclass(frozen=True)
class Overview:
    """An overview of a whole graph."""

    statistics: dict[str, float]
    """The counts of the store."""
    origins: tuple[Origin, ...]
    """The results by island and operator."""
    best: tuple[Node, ...]
    """The fittest nodes."""


@dataclass(frozen=True)
class Neighbourhood:
    """A node with its relatives."""

    node: Node
    lineage: tuple[Node, ...]
    """The ancestors along first parents, up to a draft. Further parents of a crossover are named in the node's
    record.
    """
    siblings: tuple[Node, ...]
    """The other children of its parents, best first."""
    children: tuple[Node, ...]
    """The children, best first."""


def overview(reader: GraphReader, count: int) -> Overview:
    """Return an overview with the `count` best nodes."""
    return Overview(dict(reader.statistics()), tuple(reader.origins()), tuple(reader.best(count)))


def find(reader: GraphReader, name: str) -> Node:
    """Find a node by its id, by its island and step (`0.12`), or as `best`. Raises UserError if there is none."""
    if name == "best":
        for node in reader.best():
            return node
        raise UserError("no kernel of this run is correct: there is no best node")
    try:
        return reader.node(name)
    except KeyError:
        found = reader.at_step(*map(int, name.split("."))) if _is_step(name) else None
    if found is None:
        raise UserError(f"there is no node {name}: name one by its id, by island and step (0.12), or as `best`")
    return found


def _is_step(name: str) -> bool:
    parts = name.split(".")
    return len(parts) == 2 and all(part.isdecimal() and len(part) < 19 for part in parts)


def neighbourhood(reader: GraphReader, node: Node) -> Neighbourhood:
    """Return a node with its relatives."""
    lineage: list[Node] = []
    at = node
    while at.parents and len(lineage) < _GENERATIONS:
        at = reader.node(at.parents[0])
        lineage.append(at)
    siblings = {child.id: child for parent in node.parents for child in reader.children(parent) if child.id != node.id}
    return Neighbourhood(node, tuple(lineage), _best_first(siblings.values()), _best_first(reader.children(node.id)))


def _best_first(nodes: Iterable[Node]) -> tuple[Node, ...]:
    return tuple(sorted(nodes, key=lambda node: -node.fitness))[:_RELATIVES]


def to_json(found: Overview | Neighbourhood) -> dict[str, Any]:
    """Return plain data. Nodes appear as they are stored."""
    if isinstance(found, Overview):
        return {
            "statistics": found.statistics,
            "origins": [vars(origin) for origin in found.origins],
            "best": _plain(found.best),
        }
    parts = {name: _plain(getattr(found, name)) for name in ("lineage", "siblings", "children")}
    return {"node": found.node.model_dump(mode="json"), **parts}


def _plain(nodes: Sequence[Node]) -> list[dict[str, Any]]:
    return [node.model_dump(mode="json") for node in nodes]


def view(found: Overview | Neighbourhood) -> RenderableType:
    """Render for a terminal."""
    if isinstance(found, Overview):
        return _overview_view(found)
    node = found.node
    failure = node.evaluation.diagnosis.summary if node.evaluation.diagnosis else ""
    head = Text(f"{node.id}: {_speed(node)}, {node.operator}" + (f", {node.note}" if node.note else ""))
    parts: list[RenderableType] = [head]
    if failure:
        parts.append(Text(failure, style="red"))
    if len(node.parents) > 1:
        parts.append(Text(f"parents: {', '.join(node.parents)}"))
    for title, nodes in (("lineage", found.lineage), ("siblings", found.siblings), ("children", found.children)):
        parts.append(_table(title, nodes) if nodes else Text(f"no {title}", style="dim"))
    return Group(*parts)


def _overview_view(found: Overview) -> RenderableType:
    statistics = found.statistics
    statuses = ", ".join(
        f"{int(count)} {name.removeprefix('status.')}"
        for name, count in statistics.items()
        if name.startswith("status.") and count
    )
    head = Text(
        f"{int(statistics['nodes'])} nodes, {int(statistics['kernels'])} kernels ({statuses or 'none evaluated'}), "
        f"best {_speed(found.best[0]) if found.best else '-'}, {statistics['seconds']:.0f} s"
    )
    origins = Table("island", "operator", "nodes", "correct", "best")
    for origin in found.origins:
        best = f"{origin.best_fitness:.2f}x" if origin.best_fitness else "-"
        origins.add_row(str(origin.island), origin.operator, str(origin.nodes), str(origin.correct), best)
    return Group(head, origins, _table("best", found.best) if found.best else Text("nothing correct", style="dim"))


def _table(title: str, nodes: Sequence[Node]) -> Table:
    table = Table("node", "speedup", "operator", "at", "what was changed", title=title, title_justify="left")
    for node in nodes:
        table.add_row(node.id, _speed(node), node.operator, f"{node.seconds:.0f} s", node.note)
    return table


def _speed(node: Node) -> str:
    if node.evaluation.rough:
        return f"about {node.fitness:.1f}x"
    return f"{node.fitness:.2f}x" if node.fitness else node.evaluation.status.value
