"""The graph of a run in one SQLite database."""

from __future__ import annotations

import json
import re
import resource
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from kernelevolve.core.evaluation import Status
from kernelevolve.core.graph import Node
from kernelevolve.core.kernel import Kernel
from kernelevolve.store.base import GraphStore
from kernelevolve.store.disk import disk_errors, full_disk
from kernelevolve.store.lock import GraphLock
from kernelevolve.store.objects import ObjectTable
from kernelevolve.store.reader import BEST_MEASURED, GraphQueries, joined
from kernelevolve.store.schema import GRAPH, connect, database_of

_PAGE = 1000
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")
"""A number in a diagnosis."""
_INDEX_BYTES = 1 << 16


class SqliteStore(GraphQueries, GraphStore):
    """A graph store in one file, written by one process at a time. A folder may hold the graphs of several runs.

    A node, its kernel's source and its position in the log are one transaction. An evaluation is stored once per
    kernel, and again only with a node whose evaluation differs. The store is not thread-safe.
    """

    def __init__(self, folder: Path, patience: float = 0.0, name: str = GRAPH) -> None:
        """Open or create a graph.

        Args:
            folder: The folder of the graph.
            patience: The seconds to wait for another process that writes the graph.
            name: The name of the graph in the folder.

        Raises:
            UserError: Another process writes the graph, its format is another, or the disk is full.
        """
        self._folder = folder
        database = database_of(folder, name)
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = GraphLock(database, patience)
        try:
            with self._errors():
                self._db = connect(database)
        except BaseException:
            self._lock.release()
            raise
        self._objects = ObjectTable(self._db)
        self._counters = dict(super().statistics())
        self._number = self._scalar("SELECT coalesce(max(number), 0) FROM nodes")
        self._positions: dict[int, int] = dict(
            self._db.execute("SELECT island, max(position) + 1 FROM log GROUP BY island")
        )

    def insert(self, entries: Sequence[tuple[Node, Kernel]]) -> None:
        fresh = self._fresh(entries)
        if not fresh:
            return
        with self._transaction():
            self._objects.put({kernel.id: kernel.source for _, kernel in fresh})
            for node, kernel in fresh:
                self._insert(node, kernel)

    def receive(self, island: int, node_ids: Sequence[str]) -> None:
        new = [key for key in dict.fromkeys(node_ids) if not self._in_log(island, key)]
        for key in new:
            if not self._row("SELECT 1 FROM nodes WHERE id = ?", key):
                raise KeyError(key)
        if new:
            with self._transaction():
                for key in new:
                    self._append(island, key)

    def log(self, island: int) -> Iterator[Node]:
        position = 0
        while page := self.log_page(island, position, _PAGE):
            yield from map(Node.model_validate_json, page)
            position += len(page)

    def log_page(self, island: int, start: int, count: int) -> list[str]:
        """Return `count` nodes of an island's log from position `start` as JSON; fewer at its end.

        The caller validates the texts, so that several islands can do so in parallel.
        """
        rows = self._db.execute(
            "SELECT nodes.record, coalesce(nodes.evaluation, kernels.evaluation) FROM log"
            " JOIN nodes ON nodes.id = log.node JOIN kernels ON kernels.id = nodes.kernel"
            " WHERE log.island = ? AND log.position >= ? AND log.position < ? ORDER BY log.position",
            (island, start, start + count),
        )
        return [joined(record, evaluation) for record, evaluation in rows]

    def tallies(self) -> Iterator[tuple[int, str, int, float]]:
        """Yield (island, status, nodes, best measured fitness).

        Nodes whose evaluation was taken from another do not count.

        This reads every node.
        """
        yield from self._db.execute(
            "SELECT nodes.island, kernels.status, count(*) FILTER (WHERE NOT nodes.cached),"
            f" {BEST_MEASURED}"
            " FROM nodes JOIN kernels ON kernels.id = nodes.kernel GROUP BY 1, 2"
        )

    def diagnoses(self) -> list[tuple[int, str]]:
        """Return why kernels failed, as (number of kernels, reason), the most frequent reason first.

        Reasons that differ only in numbers count as one, worded as for the first kernel.
        """
        counts: Counter[str] = Counter()
        words: dict[str, str] = {}
        rows = self._db.execute(
            "SELECT status, json_extract(evaluation, '$.diagnosis.summary') FROM kernels WHERE status != ? ORDER BY number",
            (Status.OK.value,),
        )
        for status, summary in rows:
            reason = f"{status}: {summary}"
            key = _NUMBER.sub("#", reason)
            counts[key] += 1
            words.setdefault(key, reason)
        return [(count, words[key]) for key, count in counts.most_common()]

    def next_step(self, island: int) -> int:
        """Return the step after the last one of the island's nodes."""
        return self._scalar("SELECT coalesce(max(step) + 1, 0) FROM nodes WHERE island = ?", island)

    def statistics(self) -> Mapping[str, float]:
        return dict(self._counters)

    def close(self) -> None:
        self._db.close()
        self._lock.release()

    def _fresh(self, entries: Sequence[tuple[Node, Kernel]]) -> list[tuple[Node, Kernel]]:
        """Return the entries that are not stored yet.

        Raises ValueError for an entry that contradicts the store or itself.
        """
        fresh: dict[str, tuple[Node, Kernel]] = {}
        for node, kernel in entries:
            if node.kernel_id != kernel.id:
                raise ValueError(f"node {node.id} is of kernel {node.kernel_id}, not {kernel.id}")
            if node.id in fresh:
                known: Node | None = fresh[node.id][0]
            else:
                known = self.node(node.id) if self._row("SELECT 1 FROM nodes WHERE id = ?", node.id) else None
            if known is None:
                for parent in node.parents:
                    if parent not in fresh and not self._row("SELECT 1 FROM nodes WHERE id = ?", parent):
                        raise ValueError(f"node {node.id} has the parent {parent}, which is not in the store")
                fresh[node.id] = (node, kernel)
            elif known != node:
                raise ValueError(f"node {node.id} is in the store already, and differs")
        return list(fresh.values())

    def _insert(self, node: Node, kernel: Kernel) -> None:
        self._number += 1
        evaluation = node.evaluation.model_dump_json()
        row = self._row("SELECT evaluation FROM kernels WHERE id = ?", kernel.id)
        if row is None:
            self._db.execute(
                "INSERT INTO kernels VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    kernel.id,
                    kernel.language,
                    json.dumps(dict(kernel.knobs)),
                    node.evaluation.status.value,
                    node.fitness,
                    evaluation,
                    node.id,
                    self._number,
                ),
            )
        own = None if row is None or row[0] == evaluation else evaluation
        record = node.model_dump_json(exclude={"evaluation"})
        self._db.execute(
            "INSERT INTO nodes VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (self._number, node.id, node.island, node.step, node.kernel_id, node.cached, record, own),
        )
        self._db.executemany("INSERT INTO edges VALUES (?, ?)", [(parent, self._number) for parent in node.parents])
        self._append(node.island, node.id)
        self._count(node, is_new_kernel=row is None)

    def _append(self, island: int, node_id: str) -> None:
        position = self._positions.get(island, 0)
        self._db.execute("INSERT INTO log VALUES (?, ?, ?)", (island, position, node_id))
        self._positions[island] = position + 1

    def _count(self, node: Node, is_new_kernel: bool) -> None:
        now = self.statistics()
        changed = {
            "nodes": now["nodes"] + 1,
            "seconds": max(now["seconds"], node.seconds),
            "tokens": now["tokens"] + node.usage.tokens,
            "cost": now["cost"] + node.usage.cost,
            "extra_evaluations": now["extra_evaluations"] + node.extra_evaluations,
        }
        if is_new_kernel:
            status = f"status.{node.evaluation.status}"
            better = node.evaluation.measured_fitness > now["best_fitness"]
            changed |= {
                "kernels": now["kernels"] + 1,
                status: now[status] + 1,
                "best_fitness": max(now["best_fitness"], node.evaluation.measured_fitness),
                "since_improvement": 0.0 if better else now["since_improvement"] + 1,
            }
        self._db.executemany("INSERT OR REPLACE INTO counters VALUES (?, ?)", changed.items())
        self._counters |= changed

    def _in_log(self, island: int, node_id: str) -> bool:
        return self._row("SELECT 1 FROM log WHERE island = ? AND node = ?", island, node_id) is not None

    def _scalar(self, query: str, *values: object) -> int:
        return int(self._db.execute(query, values).fetchone()[0])

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        saved = (dict(self._counters), self._number, dict(self._positions))
        try:
            with self._errors():
                self._db.execute("BEGIN IMMEDIATE")
                yield
                self._db.execute("COMMIT")
        except BaseException:
            self._counters, self._number, self._positions = saved
            # A failed statement may have ended the transaction by itself (a full disk does).
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            code = error.sqlite_errorcode & 0xFF
            # On a full disk, writes to the shared-memory index of the log fail with an input/output error.
            starved = code == sqlite3.SQLITE_IOERR and shutil.disk_usage(self._folder).free < _INDEX_BYTES
            # So do writes beyond the user's limit on file sizes.
            limited = resource.getrlimit(resource.RLIMIT_FSIZE)[0] != resource.RLIM_INFINITY
            starved |= limited and error.sqlite_errorcode == sqlite3.SQLITE_IOERR_WRITE
            if code == sqlite3.SQLITE_FULL or starved:
                raise full_disk(self._folder, str(error)) from error
            raise
