"""The actor that writes a run's graph. There is one per run."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kernelevolve.core.budget import Budget, Spent
from kernelevolve.core.errors import UserError
from kernelevolve.core.evaluation import Evaluation, Status
from kernelevolve.core.graph import Node
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.usage import Usage
from kernelevolve.remote import stand_by
from kernelevolve.store.ledger import Claim, Ledger
from kernelevolve.store.snapshot import Improvement, IslandTally, Snapshot
from kernelevolve.store.sqlite import SqliteStore

_PAGE = 2000
"""The number of nodes in one page of a log."""
_MAIL = 64
"""The maximum number of nodes that wait for an island."""
_IMPROVEMENTS = 50
"""The maximum number of improvements in a snapshot."""
_STARTING_SECONDS = 120.0
"""The seconds after which the clock of the search starts even if no island has started."""

Entry = tuple[Node, Kernel]
"""A node with its kernel."""


@dataclass(frozen=True)
class Member:
    """The registration of a running island.

    Calls with the registration of an earlier process of the island are rejected.
    """

    island: int
    """The index of the island."""
    epoch: int
    """The number of times that the island has been registered in this session."""
    next_step: int
    """The first step that the island has not used yet."""
    seconds: float
    """The time on the run's clock at the registration."""


@dataclass(frozen=True)
class Answer:
    """The answer to a claim."""

    claim: Claim
    evaluation: Evaluation | None = None
    """The known evaluation, with `Claim.KNOWN`."""


@dataclass(frozen=True)
class Receipt:
    """The result of an insert."""

    fraction: float
    """The used fraction of the budget."""
    mail: tuple[str, ...]
    """The ids of the nodes that other islands have sent since the last receipt."""


class StoreActor:
    """An asyncio Ray actor around the store of one run.

    Inserts that arrive together form one transaction; claims are answered from memory. All methods run on one event
    loop, so no locks are needed.
    """

    def __init__(self, folder: Path, name: str, budget: Budget, max_repeats: int, patience: float) -> None:
        """Create the actor. `patience` is the seconds to wait for another process that writes the graph."""
        stand_by()
        self._folder = folder
        self._name = name
        self._patience = patience
        self._budget = budget
        self._ledger = Ledger(budget, max_repeats)
        self._epochs: Counter[int] = Counter()
        self._queue: list[tuple[list[Entry], asyncio.Future[None]]] = []
        self._commit: asyncio.Task[None] | None = None
        self._mail: defaultdict[int, deque[str]] = defaultdict(lambda: deque(maxlen=_MAIL))
        self._statuses: defaultdict[int, Counter[Status]] = defaultdict(Counter)
        self._cached: Counter[int] = Counter()
        self._best: defaultdict[int, float] = defaultdict(float)
        self._improvements: deque[Improvement] = deque(maxlen=_IMPROVEMENTS)

    async def open(self) -> None:
        """Open the graph. Raises `UserError` as `SqliteStore` does. A Ray constructor could not pass the error on."""
        self._changed = asyncio.Condition()
        self._store = SqliteStore(self._folder, self._patience, self._name)
        self._earlier_seconds = self._store.statistics()["seconds"]
        # Islands start slowly on a busy machine, so the clock of the search starts with the first of them.
        self._started = time.monotonic() + _STARTING_SECONDS
        for island, status, count, fitness in self._store.tallies():
            self._statuses[island][Status(status)] += count
            self._best[island] = max(self._best[island], fitness)

    async def enlist(self, island: int) -> Member:
        """Register the caller as the only process of the island. Pending inserts are completed first."""
        await self._drained()
        self._started = min(self._started, time.monotonic())
        self._epochs[island] += 1
        self._ledger.release_island(island)
        await self._notify()
        return Member(island, self._epochs[island], self._store.next_step(island), self._seconds())

    async def log_page(self, island: int, start: int) -> list[str]:
        """Return a page of the island's log, starting at position `start`, as JSON texts."""
        return self._store.log_page(island, start, _PAGE)

    async def fetch(self, node_ids: Sequence[str]) -> list[Entry]:
        """Return nodes with their kernels. Raises KeyError for an unknown id."""
        nodes = [self._store.node(node_id) for node_id in node_ids]
        return [(node, self._store.kernel(node.kernel_id)) for node in nodes]

    async def claim(self, member: Member, kernel_id: str, patient: bool) -> Answer:
        """Ask whether a kernel may be evaluated. A patient caller waits while another one evaluates it."""
        async with self._changed:
            while (answer := self._claimed(member, kernel_id, patient)) is None:
                await self._changed.wait()
            return answer

    async def claim_now(self, member: Member, wanted: Sequence[tuple[str, bool]]) -> list[Answer | None]:
        """Answer several claims, each given as (kernel id, patient).

        The answer is None for a claim that would have to wait.
        """
        return [self._claimed(member, kernel_id, patient) for kernel_id, patient in wanted]

    def _claimed(self, member: Member, kernel_id: str, patient: bool) -> Answer | None:
        self._check(member)
        evaluation = self._store.evaluation(kernel_id)
        if evaluation is not None:
            return Answer(Claim.OVER if self._ended() else Claim.KNOWN, evaluation)
        claim = self._ledger.claim(kernel_id, (member.island, member.epoch), self._spent())
        return None if claim is Claim.WAIT or (claim is Claim.BUSY and patient) else Answer(claim)

    async def release(self, member: Member, kernel_id: str) -> None:
        """Release a claim without an evaluation."""
        self._ledger.release(kernel_id, (member.island, member.epoch))
        await self._notify()

    async def insert(self, member: Member, entries: list[Entry]) -> Receipt:
        """Insert nodes of the caller's island. They are on disk when this returns."""
        self._check(member)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append((entries, done))
        if self._commit is None:
            self._commit = asyncio.create_task(self._commit_queue())
        await done
        for node, _ in entries:
            self._ledger.settle(node.kernel_id, (member.island, member.epoch), node.cached)
        self._ended()
        await self._notify()
        mail = tuple(self._mail.pop(member.island, ()))
        return Receipt(self._budget.fraction(self._spent()), mail)

    async def receive(self, member: Member, node_ids: Sequence[str]) -> None:
        """Append migrants to the log of the caller's island."""
        self._check(member)
        self._store.receive(member.island, node_ids)

    async def send(self, island: int, node_ids: Sequence[str]) -> None:
        """Leave nodes for an island. Its next receipt names them. Beyond `_MAIL` nodes the oldest are dropped."""
        self._mail[island].extend(node_ids)

    async def finish(self, reason: str) -> None:
        """End the run. From now on claims are answered with `Claim.OVER`."""
        self._ledger.finish(reason)
        await self._notify()

    async def snapshot(self) -> Snapshot:
        """Return the current state of the run."""
        self._ended()
        await self._notify()
        spent = self._spent()
        statistics = self._store.statistics()
        return Snapshot(
            spent=spent,
            fraction=self._budget.fraction(spent),
            nodes=int(statistics["nodes"]),
            statuses={status: int(statistics[f"status.{status}"]) for status in Status},
            islands=tuple(
                IslandTally(
                    island=island,
                    nodes=sum(self._statuses[island].values()),
                    cached=self._cached[island],
                    best_fitness=self._best[island],
                    statuses=dict(self._statuses[island]),
                )
                for island in sorted(self._statuses.keys() | self._epochs.keys())
            ),
            best=next(iter(self._store.best()), None),
            improvements=tuple(self._improvements),
            reason=self._ledger.reason,
        )

    async def best(self, count: int) -> list[Entry]:
        """Return the fittest correct nodes with distinct kernels, best first."""
        return [(node, self._store.kernel(node.kernel_id)) for node in self._store.best(count)]

    async def diagnoses(self) -> list[tuple[int, str]]:
        """Return why kernels failed; see `SqliteStore.diagnoses`."""
        return self._store.diagnoses()

    async def close(self) -> None:
        """Complete pending inserts and release the folder."""
        await self._drained()
        self._store.close()

    async def _commit_queue(self) -> None:
        # Yield once, so that calls that arrived during the last commit join this one.
        await asyncio.sleep(0)
        batch, self._queue = self._queue, []
        self._commit = None
        try:
            self._write([entry for entries, _ in batch for entry in entries])
        except ValueError:
            self._commit_alone(batch)
        except UserError as error:
            for _, done in batch:
                done.set_exception(error)
        else:
            for _, done in batch:
                done.set_result(None)

    def _commit_alone(self, batch: Iterable[tuple[list[Entry], asyncio.Future[None]]]) -> None:
        """Commit each insert by itself, so that only the caller of a contradictory one gets an error."""
        for entries, done in batch:
            try:
                self._write(entries)
            except (ValueError, UserError) as error:
                done.set_exception(error)
            else:
                done.set_result(None)

    def _write(self, entries: list[Entry]) -> None:
        best = self._store.statistics()["best_fitness"]
        self._store.insert(entries)
        for node, _ in entries:
            if node.cached:
                self._cached[node.island] += 1
            else:
                self._statuses[node.island][node.evaluation.status] += 1
            fitness = node.evaluation.measured_fitness
            self._best[node.island] = max(self._best[node.island], fitness)
            if fitness > best:
                best = fitness
                self._improvements.append(
                    Improvement(
                        seconds=node.seconds,
                        island=node.island,
                        node_id=node.id,
                        fitness=fitness,
                        operator=node.operator,
                        note=node.note,
                    )
                )

    async def _drained(self) -> None:
        while self._commit is not None:
            await asyncio.wait([self._commit])

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    def _check(self, member: Member) -> None:
        if self._epochs[member.island] != member.epoch:
            raise RuntimeError(f"island {member.island} was restarted: calls of its earlier process are rejected")

    def _ended(self) -> bool:
        self._ledger.check(self._spent())
        return self._ledger.reason is not None

    def _seconds(self) -> float:
        return self._earlier_seconds + max(0.0, time.monotonic() - self._started)

    def _spent(self) -> Spent:
        statistics = self._store.statistics()
        return Spent(
            seconds=self._seconds(),
            evaluations=int(statistics["kernels"] + statistics["extra_evaluations"]),
            best_fitness=statistics["best_fitness"],
            since_improvement=int(statistics["since_improvement"]),
            usage=Usage(tokens=int(statistics["tokens"]), cost=statistics["cost"]),
        )
