"""The driver's side of a run: it starts the islands and the graph store, watches them and shuts them down."""

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

from islands.island import Island, SearchPlan
from kernelevolve.core.budget import Budget
from kernelevolve.core.errors import UserError
from kernelevolve.core.graph import Node
from kernelevolve.core.kernel import Kernel
from kernelevolve.remote import ask, death_message, spread
from kernelevolve.store.client import StoreClient, start_store
from kernelevolve.store.schema import GRAPH
from kernelevolve.store.snapshot import Snapshot

_LOCK_PATIENCE_SECONDS = 15.0
_RATE_WINDOW_SECONDS = 10.0
_STOP_SECONDS = 10.0
_ANSWER_SECONDS = 1.0


class Progress(Snapshot):
    """The state of a run at one moment, for the live view."""

    evaluations_per_second: float
    """The rate of evaluations over the last ten seconds of this session."""
    restarts: int
    """The number of islands that were restarted after their process died."""
    done: bool
    """Whether every island has ended. True only in the last progress of a run."""


class Archipelago:
    """Runs the islands of one run on its graph until the budget is reached.

    Use it as a context manager. Ray must be initialised. If the graph already holds nodes, the run is resumed: the
    strategies replay their logs, and what earlier sessions spent counts against the budget.

    Entering the context raises `UserError` if the graph is in use or has another format, or if the disk is full.
    """

    def __init__(
        self,
        *,
        folder: Path,
        budget: Budget,
        plan: SearchPlan,
        strategies: Sequence[Mapping[str, Any]],
        graph: str = GRAPH,
    ) -> None:
        """Prepare a run without starting anything.

        Args:
            folder: The folder that holds the graph.
            budget: The limits that end the run.
            plan: The data that every island receives.
            strategies: Mappings with `_target_`: one per island, or a single one for all of them.
            graph: The name of the graph within the folder.

        Raises:
            UserError: The number of strategies does not fit the number of islands.
        """
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
        """Cancel the candidates in flight, write what has been evaluated and release the folder."""
        try:
            self._end(list(self._runs))
        finally:
            for actor in (*self._islands.values(), self._store):
                ray.kill(actor)

    def watch(self, interval: float = 0.25) -> Iterator[Progress]:
        """Wait for the end of the run, and report progress in the meantime.

        Args:
            interval: Seconds between two reports.

        Yields:
            The progress of the run. The last one has `done` set.

        Raises:
            UserError: The disk is full, or islands died more often than `restarts` allows.
            Exception: The error of the operator or of the evaluation that ended an island after all retries.
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
                self._doing = self._work_in_progress() if not progress.spent.evaluations else ()
            if deadline is not None and time.monotonic() >= deadline:
                for index in self._runs.values():
                    self._islands[index].stop.remote()
            yield progress

    def progress(self) -> Progress:
        """Return the current state of the run."""
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
        """The work that was in progress when the run ended without any evaluation, one line per candidate."""
        return self._doing

    def diagnoses(self) -> list[tuple[int, str]]:
        """Return why kernels failed, as (number of kernels, reason), the most frequent reason first."""
        found: list[tuple[int, str]] = ask(self._store.diagnoses.remote())
        return found

    def finish(self, reason: str) -> None:
        """End the run as if its budget were reached. `watch` returns after the grace period."""
        ask(self._store.finish.remote(reason))

    def best(self, count: int = 1) -> list[tuple[Node, Kernel]]:
        """Return the fittest correct nodes with distinct kernels, best first."""
        best: list[tuple[Node, Kernel]] = ask(self._store.best.remote(count))
        return best

    def _start(self, index: int) -> None:
        actor = ray.remote(Island).options(num_cpus=0, max_concurrency=100, scheduling_strategy=spread(index))
        self._islands[index] = actor.remote(index, self._shared_plan, self._strategies[index], StoreClient(self._store))
        self._runs[self._islands[index].run.remote()] = index

    def _reap(self, reference: Any) -> None:
        """Handle an island that has ended. Restart it if its process died."""
        index = self._runs.pop(reference)
        try:
            exhausted = ask(reference)
            if exhausted is not None:
                self._exhausted.append(exhausted)
        except RayActorError as error:
            if self._restarts >= self._settings.restarts:
                raise UserError(death_message("an island", "again and again", error)) from error
            self._restarts += 1
            self._start(index)

    def _work_in_progress(self) -> tuple[str, ...]:
        """Ask the running islands what they are doing, for at most `_ANSWER_SECONDS`."""
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
