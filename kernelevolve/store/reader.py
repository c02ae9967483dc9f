"""Looking into a run's graph: what the store itself reads, and a reader beside a run that writes."""

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
_COUNTED = ("nodes", "kernels", "best_fitness", "seconds", "since_improvement", "tokens", "cost", "trials")
BEST_MEASURED = (
    "coalesce(max(kernels.fitness)"
    " FILTER (WHERE json_extract(kernels.evaluation, '$.measurement.speedup') IS NOT NULL), 0.0)"
)
"""Guesses rank kernels, and are told to nobody."""
_JOINED = "nodes JOIN kernels ON kernels.id = nodes.kernel"


@dataclass(frozen=True)
class Origin:
    """What came of one operator's moves on one island."""

    island: int
    operator: str
    nodes: int
    correct: int
    best_fitness: float
    """As measured; 0 where nothing was."""


class GraphReading:
    """The queries; whoever derives from it opens the database and the objects."""

    _db: sqlite3.Connection
    _objects: ObjectTable

    def node(self, node_id: str) -> Node:
        """Raises KeyError."""
        row = self._row(f"SELECT {_RECORD} FROM {_JOINED} WHERE nodes.id = ?", node_id)
        if row is None:
            raise KeyError(node_id)
        return Node.model_validate_json(joined(*row))

    def kernel(self, kernel_id: str) -> Kernel:
        """Raises KeyError."""
        row = self._row("SELECT language, knobs FROM kernels WHERE id = ?", kernel_id)
        if row is None:
            raise KeyError(kernel_id)
        return Kernel(source=self._objects.get(kernel_id), language=row[0], knobs=json.loads(row[1]))

    def evaluation(self, kernel_id: str) -> Evaluation | None:
        """The verdict on a kernel, if a node has one."""
        row = self._row("SELECT evaluation FROM kernels WHERE id = ?", kernel_id)
        return None if row is None else Evaluation.model_validate_json(row[0])

    def best(self, count: int = 1) -> list[Node]:
        """The fittest correct nodes with different kernels, best first."""
        rows = self._db.execute(
            "SELECT node FROM kernels WHERE status = 'ok' ORDER BY fitness DESC, number LIMIT ?", (count,)
        ).fetchall()
        return [self.node(row[0]) for row in rows]

    def children(self, node_id: str, count: int = 100) -> list[Node]:
        """The first nodes that name this one as a parent, in the order in which they were inserted."""
        rows = self._db.execute(
            f"SELECT {_RECORD} FROM edges JOIN nodes ON nodes.number = edges.child"
            " JOIN kernels ON kernels.id = nodes.kernel WHERE edges.parent = ? ORDER BY edges.child LIMIT ?",
            (node_id, count),
        )
        return [Node.model_validate_json(joined(*row)) for row in rows]

    def statistics(self) -> Mapping[str, float]:
        """As the store's."""
        found = dict(self._db.execute("SELECT name, value FROM counters"))
        plain = dict.fromkeys(_COUNTED, 0.0)
        return plain | {f"status.{status}": 0.0 for status in Status} | found

    def origins(self) -> list[Origin]:
        """By island and operator. Reads every node."""
        rows = self._db.execute(
            "SELECT nodes.island, json_extract(nodes.record, '$.operator'), count(*),"
            " count(*) FILTER (WHERE kernels.status = 'ok'),"
            f" {BEST_MEASURED}"
            f" FROM {_JOINED} GROUP BY 1, 2 ORDER BY 1, 3 DESC"
        )
        return [Origin(*row) for row in rows]

    def progress(self) -> list[tuple[float, float]]:
        """(seconds since the run's start, fitness) of each distinct kernel, in the order in which they were inserted."""
        rows = self._db.execute(
            "SELECT json_extract(nodes.record, '$.seconds'), kernels.fitness FROM nodes"
            " JOIN kernels ON kernels.node = nodes.id ORDER BY nodes.number"
        )
        return [(float(seconds or 0.0), float(fitness)) for seconds, fitness in rows]

    def _row(self, query: str, *values: object) -> tuple[str, ...] | None:
        row: tuple[str, ...] | None = self._db.execute(query, values).fetchone()
        return row


class GraphReader(GraphReading):
    """A run's graph, looked at only: whoever writes it goes on. `close` it.

    Raises `UserError` where there is no graph, or one of another format.
    """

    def __init__(self, folder: Path, name: str = GRAPH) -> None:
        self._db = connect_reading(database_of(folder, name))
        self._objects = ObjectTable(self._db)

    def at_step(self, island: int, step: int) -> Node | None:
        """An island's node of that step, if there is one."""
        row = self._row("SELECT id FROM nodes WHERE island = ? AND step = ?", island, step)
        return None if row is None else self.node(row[0])

    def close(self) -> None:
        self._db.close()


def joined(record: str, evaluation: str) -> str:
    """The JSON of a node out of its row and its evaluation."""
    return f'{record[:-1]},"evaluation":{evaluation}}}'
