"""A run's islands, started, watched and ended by the driver."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import ray
from ray.exceptions import RayActorError

from islands.island import Island, Plan
from kernelevolve.core.budget import Budget
from kernelevolve.core.errors import UserError
from kernelevolve.core.graph import Node
from kernelevolve.core.kernel import Kernel
from kernelevolve.remote import ask, died, spread
from kernelevolve.store.client import StoreClient, start_store
from kernelevolve.store.schema import GRAPH
from kernelevolve.store.snapshot import Snapshot

_LOCK_PATIENCE_SECONDS = 15.0
_RATE_WINDOW_SECONDS = 10.0
_STOP_SECONDS = 10.0
_ANSWER_SECONDS = 1.0


class Progress(Snapshot):
    """A snapshot for the live view."""

    evaluations_per_second: float
    """Over the last ten seconds of this session."""
    restarts: int
    """Islands that were started again after their process died."""
    done: bool
    """The last one: every island has ended."""


class Archipelago:
    """Opens the run's graph, works on it until the budget is reached, and gives it back. A context manager.

    On a graph that holds nodes the run goes on: the strategies are told their logs, what was spent counts.
    `strategies` holds one mapping with `_target_` per island, or one for all. Ray is running already.

    Entering raises `UserError` where the graph is in use, of another format, or the disk is full.
    """

    def __init__(
        self,
        *,
        folder: Path,
        budget: Budget,
        plan: Plan,
        strategies: Sequence[Mapping[str, Any]],
        graph: str = GRAPH,
    ) -> None:
        """`folder`, `graph`: where the graph lies, and its name there."""
        count = plan.settings.count
        if len(strategies) not in (1, count):
            raise UserError(f"{len(strategies)} strategies for islands.count={count}: name one, or one per island")
        self._folder = folder
        self._graph = graph
        self._budget = budget
        self._plan = plan
        self._settings = plan.settings
        self._strategies = list(strategies) * (count if len(strategies) == 1 else 1)
        self._store: Any = None
        self._islands: dict[int, Any] = {}
        self._runs: dict[Any, int] = {}
        self._restarts = 0
        self._exhausted: list[str] = []
        self._doing: tuple[str, ...] = ()
        self._rates: deque[tuple[float, int]] = deque()

    def __enter__(self) -> Self:
        self._store = start_store(
            self._folder,
            self._graph,
            self._budget,
            max_repeats=self._settings.max_repeats,
            patience=_LOCK_PATIENCE_SECONDS,
        )
        self._shared_plan = ray.put(self._plan)
        for index in range(self._settings.count):
            self._start(index)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cancel what is in flight, write what is judged, give the folder back."""
        try:
            self._end(list(self._runs))
        finally:
            for actor in (*self._islands.values(), self._store):
                ray.kill(actor)

    def watch(self, interval: float = 0.25) -> Iterator[Progress]:
        """Wait for the end of the run; a progress every `interval` seconds, the last one with `done`.

        Raises what ended an island before its time: the operator's or the evaluation's error when retrying did not
        help, `UserError` for a full disk, and when islands die more often than `restarts`.
        """
        deadline: float | None = None
        while self._runs:
            finished, _ = ray.wait(list(self._runs), num_returns=1, timeout=interval)
            for reference in finished:
                self._reap(reference)
            if self._exhausted and not self._runs:
                self.finish(self._exhausted[-1])
            progress = self.progress()
            if progress.reason and deadline is None:
                deadline = time.monotonic() + self._settings.grace_seconds
                self._doing = self._asked_for() if not progress.spent.evaluations else ()
            if deadline is not None and time.monotonic() >= deadline:
                for index in self._runs.values():
                    self._islands[index].stop.remote()
            yield progress

    def progress(self) -> Progress:
        """Where the run stands now."""
        snapshot: Snapshot = ask(self._store.snapshot.remote())
        now = time.monotonic()
        self._rates.append((now, snapshot.spent.evaluations))
        while now - self._rates[0][0] > _RATE_WINDOW_SECONDS:
            self._rates.popleft()
        since, before = self._rates[0]
        rate = (snapshot.spent.evaluations - before) / (now - since) if now > since else 0.0
        return Progress(**dict(snapshot), evaluations_per_second=rate, restarts=self._restarts, done=not self._runs)

    @property
    def doing(self) -> tuple[str, ...]:
        """Where the run ended before anything was judged: what was under way then, a line for each candidate."""
        return self._doing

    def diagnoses(self) -> list[tuple[int, str]]:
        """Why kernels failed, the commonest first, with the number of kernels."""
        found: list[tuple[int, str]] = ask(self._store.diagnoses.remote())
        return found

    def finish(self, reason: str) -> None:
        """End the run as if its budget were reached: `watch` ends after the grace."""
        ask(self._store.finish.remote(reason))

    def best(self, count: int = 1) -> list[tuple[Node, Kernel]]:
        """The fittest correct nodes with different kernels, best first."""
        best: list[tuple[Node, Kernel]] = ask(self._store.best.remote(count))
        return best

    def _start(self, index: int) -> None:
        actor = ray.remote(Island).options(num_cpus=0, max_concurrency=100, scheduling_strategy=spread(index))
        self._islands[index] = actor.remote(index, self._shared_plan, self._strategies[index], StoreClient(self._store))
        self._runs[self._islands[index].run.remote()] = index

    def _reap(self, reference: Any) -> None:
        """Take note of an island that ended; start it again where its process died."""
        index = self._runs.pop(reference)
        try:
            exhausted = ask(reference)
            if exhausted is not None:
                self._exhausted.append(exhausted)
        except RayActorError as error:
            if self._restarts >= self._settings.restarts:
                raise UserError(died("an island", "again and again", error)) from error
            self._restarts += 1
            self._start(index)

    def _asked_for(self) -> tuple[str, ...]:
        asked = [self._islands[index].doing.remote() for index in self._runs.values()]
        answered, silent = ray.wait(asked, num_returns=len(asked), timeout=_ANSWER_SECONDS) if asked else ([], [])
        found = ["an island was starting"] if silent else []
        for reference in answered:
            with suppress(RayActorError):
                found += ask(reference)
        return tuple(dict.fromkeys(found))

    def _end(self, running: list[Any]) -> None:
        if running:
            ask(self._store.finish.remote("stopped"))
            for index in self._runs.values():
                self._islands[index].stop.remote()
            ray.wait(running, num_returns=len(running), timeout=_STOP_SECONDS)
        ask(self._store.close.remote())
