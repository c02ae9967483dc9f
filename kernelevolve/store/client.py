"""What islands and the driver call the store's actor through."""

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
    """A claim on its way to the store."""

    member: Member
    kernel_id: str
    patient: bool
    told: asyncio.Future[Answer]


class StoreClient:
    """The store actor's methods as plain coroutines, for islands. Errors of users arrive as `UserError`."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor
        self._wanted: list[_Wanted] = []
        self._claiming: set[asyncio.Task[None]] = set()

    async def enlist(self, island: int) -> Member:
        return await answered(self._actor.enlist.remote(island), Member)

    async def log(self, island: int) -> AsyncIterator[Node]:
        """What the island's strategy was told, in order."""
        start = 0
        while page := await answered(self._actor.log_page.remote(island, start), list[str]):
            for text in page:
                yield Node.model_validate_json(text)
            start += len(page)

    async def fetch(self, node_ids: Sequence[str]) -> list[Entry]:
        """Raises KeyError for an unknown node."""
        return await answered(self._actor.fetch.remote(node_ids), list[Entry])

    async def claim(self, member: Member, kernel_id: str, *, patient: bool) -> Answer:
        """Claims of candidates that come at the same time travel together."""
        wanted = _Wanted(member, kernel_id, patient, asyncio.get_running_loop().create_future())
        self._wanted.append(wanted)
        if len(self._wanted) == 1:
            self._spawn(self._claim_together())
        return await wanted.told

    async def _claim_together(self) -> None:
        await asyncio.sleep(0)  # Lets the others of this turn of the loop come in.
        asked, self._wanted = self._wanted, []
        try:
            pairs = [(wanted.kernel_id, wanted.patient) for wanted in asked]
            answers = await answered(self._actor.claim_now.remote(asked[0].member, pairs), list[Answer | None])
        except Exception as error:  # noqa: BLE001 - each of those who asked gets it
            for wanted in asked:
                if not wanted.told.done():
                    wanted.told.set_exception(error)
            return
        for wanted, answer in zip(asked, answers, strict=True):
            if answer is None and not wanted.told.done():
                self._spawn(self._claim_alone(wanted))
            elif answer is not None:
                self._tell(wanted, answer)

    async def _claim_alone(self, wanted: _Wanted) -> None:
        """One that waits until there is an answer."""
        reference = self._actor.claim.remote(wanted.member, wanted.kernel_id, wanted.patient)
        try:
            self._tell(wanted, await answered(reference, Answer))
        except Exception as error:  # noqa: BLE001 - who asked gets it
            if not wanted.told.done():
                wanted.told.set_exception(error)

    def _tell(self, wanted: _Wanted, answer: Answer) -> None:
        if not wanted.told.done():
            wanted.told.set_result(answer)
        elif answer.claim is Claim.GRANTED:  # Whoever asked was called off meanwhile.
            self.release(wanted.member, wanted.kernel_id)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._claiming.add(task)
        task.add_done_callback(self._claiming.discard)

    def release(self, member: Member, kernel_id: str) -> None:
        """Does not wait: the caller may be in the middle of being cancelled."""
        self._actor.release.remote(member, kernel_id)

    async def insert(self, member: Member, entries: list[Entry]) -> Receipt:
        return await answered(self._actor.insert.remote(member, entries), Receipt)

    async def receive(self, member: Member, node_ids: Sequence[str]) -> None:
        await answered(self._actor.receive.remote(member, node_ids), NoneType)

    async def finish(self, reason: str) -> None:
        """End the run."""
        await answered(self._actor.finish.remote(reason), NoneType)

    async def send(self, island: int, node_ids: Sequence[str]) -> None:
        await answered(self._actor.send.remote(island, node_ids), NoneType)


def start_store(folder: Path, name: str, budget: Budget, *, max_repeats: int, patience: float) -> Any:
    """Start the actor, on the caller's machine, and open the graph of that name in the folder. Returns the actor's handle.

    Raises `UserError` as `SqliteStore` does.
    """
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    store = ray.remote(StoreActor).options(num_cpus=0, max_concurrency=10_000, scheduling_strategy=here)
    actor = store.remote(folder, name, budget, max_repeats, patience)
    ask(actor.open.remote())
    return actor
