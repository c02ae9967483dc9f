"""The client of the store's actor, for islands and the driver."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from kernelevolve.core.budget import Budget
from kernelevolve.core.graph import Node
from kernelevolve.remote import answered, ask
from kernelevolve.store.actor import Answer, Entry, Member, Receipt, StoreActor
from kernelevolve.store.ledger import Claim


@dataclass
class _Wanted:
    """A claim that has no answer yet."""

    member: Member
    kernel_id: str
    patient: bool
    answer: asyncio.Future[Answer]


class StoreClient:
    """The methods of the store actor as coroutines, for islands. A user's mistake is raised as `UserError`."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor
        self._wanted: list[_Wanted] = []
        self._claiming: set[asyncio.Task[None]] = set()

    async def enlist(self, island: int) -> Member:
        """Register the caller as the only process of the island."""
        return await answered(self._actor.enlist.remote(island), Member)

    async def log(self, island: int) -> AsyncIterator[Node]:
        """Yield the nodes that the island's strategy received, in order."""
        start = 0
        while page := await answered(self._actor.log_page.remote(island, start), list[str]):
            for text in page:
                yield Node.model_validate_json(text)
            start += len(page)

    async def fetch(self, node_ids: Sequence[str]) -> list[Entry]:
        """Return nodes with their kernels. Raises KeyError for an unknown id."""
        return await answered(self._actor.fetch.remote(node_ids), list[Entry])

    async def claim(self, member: Member, kernel_id: str, *, patient: bool) -> Answer:
        """Ask whether a kernel may be evaluated. Claims that are made at the same time are sent in one call.

        Args:
            member: The registration of the island.
            kernel_id: The kernel.
            patient: Whether to wait while another candidate evaluates the kernel.
        """
        wanted = _Wanted(member, kernel_id, patient, asyncio.get_running_loop().create_future())
        self._wanted.append(wanted)
        if len(self._wanted) == 1:
            self._spawn(self._claim_together())
        return await wanted.answer

    async def _claim_together(self) -> None:
        await asyncio.sleep(0)  # Lets other claims of this iteration of the event loop join.
        asked, self._wanted = self._wanted, []
        try:
            pairs = [(wanted.kernel_id, wanted.patient) for wanted in asked]
            answers = await answered(self._actor.claim_now.remote(asked[0].member, pairs), list[Answer | None])
        except Exception as error:  # noqa: BLE001 - passed on to every caller
            for wanted in asked:
                if not wanted.answer.done():
                    wanted.answer.set_exception(error)
            return
        for wanted, answer in zip(asked, answers, strict=True):
            if answer is None and not wanted.answer.done():
                self._spawn(self._claim_alone(wanted))
            elif answer is not None:
                self._deliver(wanted, answer)

    async def _claim_alone(self, wanted: _Wanted) -> None:
        """Wait for the answer to a claim that has to wait."""
        reference = self._actor.claim.remote(wanted.member, wanted.kernel_id, wanted.patient)
        try:
            self._deliver(wanted, await answered(reference, Answer))
        except Exception as error:  # noqa: BLE001 - passed on to the caller
            if not wanted.answer.done():
                wanted.answer.set_exception(error)

    def _deliver(self, wanted: _Wanted, answer: Answer) -> None:
        if not wanted.answer.done():
            wanted.answer.set_result(answer)
        elif answer.claim is Claim.GRANTED:  # The caller was cancelled in the meantime.
            self.release(wanted.member, wanted.kernel_id)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._claiming.add(task)
        task.add_done_callback(self._claiming.discard)

    def release(self, member: Member, kernel_id: str) -> None:
        """Release a claim without waiting for the store, since the caller may be about to be cancelled."""
        self._actor.release.remote(member, kernel_id)

    async def insert(self, member: Member, entries: list[Entry]) -> Receipt:
        """Insert nodes of the caller's island. They are on disk when this returns."""
        return await answered(self._actor.insert.remote(member, entries), Receipt)

    async def receive(self, member: Member, node_ids: Sequence[str]) -> None:
        """Append migrants to the log of the caller's island."""
        await answered(self._actor.receive.remote(member, node_ids), NoneType)

    async def finish(self, reason: str) -> None:
        """End the run for the given reason."""
        await answered(self._actor.finish.remote(reason), NoneType)

    async def send(self, island: int, node_ids: Sequence[str]) -> None:
        """Leave nodes for another island."""
        await answered(self._actor.send.remote(island, node_ids), NoneType)


def start_store(folder: Path, name: str, budget: Budget, *, max_repeats: int, patience: float) -> Any:
    """Start the store's actor on the caller's machine and open a graph.

    Args:
        folder: The folder of the graph.
        name: The name of the graph in the folder.
        budget: The limits of the run.
        max_repeats: The number of known kernels in a row that ends the run.
        patience: The seconds to wait for another process that writes the graph.

    Returns:
        The handle of the actor.

    Raises:
        UserError: The graph cannot be opened (see `SqliteStore`).
    """
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    store = ray.remote(StoreActor).options(num_cpus=0, max_concurrency=10_000, scheduling_strategy=here)
    actor = store.remote(folder, name, budget, max_repeats, patience)
    ask(actor.open.remote())
    return actor
