"""Queries on a run's graph: those of the store itself, and a reader that works while another process writes."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kernelevolve.core.evaluation import Evaluation, Status
from kernelevolve.core.graph import Node
from kernelevolve.core.kernel import Kernel
from kernelevolve.store.objects import ObjectTable
from kernelevolve.store.schema import GRAPH, connect_reading, database_of

_RECORD = "nodes.record, coalesce(nodes.evaluation, kernels.evaluation)"
"""The columns of a node's record and its evaluation."""
_COUNTED = ("nodes", "kernels", "best_fitness", "seconds", "since_improvement", "tokens", "cost", "extra_evaluations")
"""The names of the counters."""
BEST_MEASURED = (
    "coalesce(max(kernels.fitness)"
    " FILTER (WHERE json_extract(kernels.evaluation, '$.measurement.speedup') IS NOT NULL), 0.0)"
)
"""The SQL expression of the best measured fitness. Estimates rank kernels, but are not reported."""
_JOINED = "nodes JOIN kernels ON kernels.id = nodes.kernel"


@dataclass(frozen=True)
class Origin:
    """The results of one operator's moves on one island."""

    island: int
    operator: str
    nodes: int
    """The number of nodes."""
    correct: int
    """The number of nodes with a correct kernel."""
    best_fitness: float
    """The best measured fitness; 0 if nothing was measured."""


class GraphQueries:
    """The queries. A subclass opens the database and the objects."""

    _db: sqlite3.Connection
    _objects: ObjectTable

    def node(self, node_id: str) -> Node:
        """Return a node. Raises KeyError for an unknown id."""
        row = self._row(f"SELECT {_RECORD} FROM {_JOINED} WHERE nodes.id = ?", node_id)
        if row is None:
            raise KeyError(node_id)
        return Node.model_validate_json(joined(*row))

    def kernel(self, kernel_id: str) -> Kernel:
        """Return a kernel. Raises KeyError for an unknown id."""
        row = self._row("SELECT language, knobs FROM kernels WHERE id = ?", kernel_id)
        if row is None:
            raise KeyError(kernel_id)
        return Kernel(source=self._objects.get(kernel_id), language=row[0], knobs=json.loads(row[1]))

    def evaluation(self, kernel_id: str) -> Evaluation | None:
        """Return the evaluation of a kernel, or None if no node has it."""
        row = self._row("SELECT evaluation FROM kernels WHERE id = ?", kernel_id)
        return None if row is None else Evaluation.model_validate_json(row[0])

    def best(self, count: int = 1) -> list[Node]:
        """Return the fittest correct nodes with distinct kernels, best first."""
        rows = self._db.execute(
            "SELECT node FROM kernels WHERE status = 'ok' ORDER BY fitness DESC, number LIMIT ?", (count,)
        ).fetchall()
        return [self.node(row[0]) for row in rows]

    def children(self, node_id: str, count: int = 100) -> list[Node]:
        """Return the first `count` children of a node in the order of insertion."""
        rows = self._db.execute(
            f"SELECT {_RECORD} FROM edges JOIN nodes ON nodes.number = edges.child"
            " JOIN kernels ON kernels.id = nodes.kernel WHERE edges.parent = ? ORDER BY edges.child LIMIT ?",
            (node_id, count),
        )
        return [Node.model_validate_json(joined(*row)) for row in rows]

    def page(self, after: int = 0, count: int = 500) -> list[tuple[int, Node]]:
        """Return the nodes that were inserted after a place, in the order of insertion, each with its place.

        Args:
            after: The place; 0 for the first page, afterwards that of the last node of the page before.
            count: The greatest number of nodes of the page.
        """
        rows = self._db.execute(
            f"SELECT nodes.number, {_RECORD} FROM {_JOINED} WHERE nodes.number > ? ORDER BY nodes.number LIMIT ?",
            (after, count),
        )
        return [(int(number), Node.model_validate_json(joined(*row))) for number, *row in rows]

    def edges(self, after: int = 0, count: int = 2000) -> list[tuple[int, str, str]]:
        """Return (place of the child, id of the parent, id of the child) of the edges to nodes inserted after a place, in that order.

        The edges to one node are on one page: the last node's may exceed `count`.

        Args:
            after: The place of the last child of the page before; 0 for the first page.
            count: The number of edges after which the page ends.
        """
        rows = self._db.execute(
            "SELECT nodes.number, parents.value, nodes.id FROM nodes, json_each(nodes.record, '$.parents') AS parents"
            " WHERE nodes.number > ? ORDER BY nodes.number, parents.key",
            (after,),
        )
        found: list[tuple[int, str, str]] = []
        for number, parent, child in rows:
            if len(found) >= count and number != found[-1][0]:
                break
            found.append((int(number), str(parent), str(child)))
        return found

    def statistics(self) -> Mapping[str, float]:
        """Return the counts that `GraphStore.statistics` describes."""
        found = dict(self._db.execute("SELECT name, value FROM counters"))
        zeros = dict.fromkeys(_COUNTED, 0.0)
        return zeros | {f"status.{status}": 0.0 for status in Status} | found

    def origins(self) -> list[Origin]:
        """Return the results by island and operator. This reads every node."""
        rows = self._db.execute(
            "SELECT nodes.island, json_extract(nodes.record, '$.operator'), count(*),"
            " count(*) FILTER (WHERE kernels.status = 'ok'),"
            f" {BEST_MEASURED}"
            f" FROM {_JOINED} GROUP BY 1, 2 ORDER BY 1, 3 DESC"
        )
        return [Origin(*row) for row in rows]

    def progress(self) -> list[tuple[float, float]]:
        """Return (seconds since the run's start, fitness) of each distinct kernel, in the order of insertion."""
        rows = self._db.execute(
            "SELECT json_extract(nodes.record, '$.seconds'), kernels.fitness FROM nodes"
            " JOIN kernels ON kernels.node = nodes.id ORDER BY nodes.number"
        )
        return [(float(seconds or 0.0), float(fitness)) for seconds, fitness in rows]

    def _row(self, query: str, *values: object) -> tuple[str, ...] | None:
        row: tuple[str, ...] | None = self._db.execute(query, values).fetchone()
        return row


class GraphReader(GraphQueries):
    """A read-only view of a run's graph, which another process may be writing. Call `close` at the end."""

    def __init__(self, folder: Path, name: str = GRAPH) -> None:
        """Open a graph.

        Args:
            folder: The folder of the graph.
            name: The name of the graph in the folder.

        Raises:
            UserError: There is no graph, or it has another format.
        """
        self._db = connect_reading(database_of(folder, name))
        self._objects = ObjectTable(self._db)

    def at_step(self, island: int, step: int) -> Node | None:
        """Return an island's node of that step, or None."""
        row = self._row("SELECT id FROM nodes WHERE island = ? AND step = ?", island, step)
        return None if row is None else self.node(row[0])

    def close(self) -> None:
        """Close the database."""
        self._db.close()


def joined(record: str, evaluation: str) -> str:
    """Return the JSON of a node from its record and its evaluation."""
    return f'{record[:-1]},"evaluation":{evaluation}}}'
