"""One population: a strategy and the candidates that it has under way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

from hydra.utils import instantiate
from ray.exceptions import RayError, RayTaskError

from evaluators.base import Evaluator
from islands.memory import History, Library
from islands.settings import IslandSettings
from kernelevolve.core.errors import InfrastructureError
from kernelevolve.core.evaluation import Evaluation, Status
from kernelevolve.core.graph import Draft, Expansion, Node
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.seeds import derive_seed
from kernelevolve.core.target import Target
from kernelevolve.core.task import Task
from kernelevolve.core.usage import Usage
from kernelevolve.llm.base import Models
from kernelevolve.llm.errors import OverspentError
from kernelevolve.remote import plain
from kernelevolve.search.base import Strategy, View
from kernelevolve.store.actor import Member
from kernelevolve.store.client import StoreClient
from kernelevolve.store.ledger import Claim
from kernelevolve.synthesis.base import Context, ExhaustedError, Operator

_INFRASTRUCTURE = (OSError, InfrastructureError)
"""What is tried again; anything else that our own code raises is a bug, and is raised."""
_BACKOFF_SECONDS = 0.2

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Plan:
    """What every island of a run is given."""

    run: str
    task: Task
    target: Target
    operator: Operator
    evaluator: Evaluator
    settings: IslandSettings
    seed: int
    models: Models | None = None
    """That the operator may ask."""


@dataclass(frozen=True)
class _Entry:
    node: Node
    kernel: Kernel
    told: asyncio.Future[None]


class Island:
    """An asyncio Ray actor. `run` works until the run's end; `stop` cancels what is in flight.

    `strategy` is a mapping with `_target_`, instantiated here with the island's seed. Nodes are inserted by one writer,
    in the order in which the strategy is told them: the log that a restart replays.
    """

    def __init__(self, index: int, plan: Plan, strategy: Mapping[str, Any], store: StoreClient) -> None:
        settings = plan.settings
        self._index = index
        self._plan = plan
        self._settings = settings
        self._store = store
        self._operator = plan.operator
        self._strategy: Strategy = instantiate(dict(strategy), seed=derive_seed(plan.seed, "island", index))
        self._migration = settings.migration(index, plan.seed)
        self._history = History(settings.history)
        self._library = Library(store)
        self._told: set[str] = set()
        """Kernels of the nodes that the strategy was told."""
        self._judged: set[str] = set()
        """Those, and what claims showed of other islands' kernels."""
        self._migrants: set[str] = set()
        self._own_nodes = 0
        self._in_flight: dict[int, Expansion] = {}
        self._doing: dict[int, str] = {}
        """By step."""
        self._idle = 0
        """Slots that wait for a node, because the operator has nothing new to propose."""
        self._exhausted: str | None = None
        self._outbox: asyncio.Queue[_Entry | None]
        self._slots: list[asyncio.Task[None]] = []
        self._fraction = 0.0
        self._over = False

    async def run(self) -> str | None:
        """Replay the log, then search until the store says that the run has ended, or the operator has nothing new to propose; then
        its words for that are returned.

        Raises what an operator or the evaluation raised, when retrying did not help.
        """
        self._outbox = asyncio.Queue()
        self._news = asyncio.Event()
        self._member: Member = await self._store.enlist(self._index)
        self._next_step = self._member.next_step
        self._clock = self._member.seconds - time.monotonic()
        async for node in self._store.log(self._index):
            self._tell(node)
        self._slots = [] if self._over else [asyncio.create_task(self._slot()) for _ in range(self._settings.in_flight)]
        writer = asyncio.create_task(self._write())
        try:
            await self._slots_end(writer)
        finally:
            for slot in self._slots:
                slot.cancel()
            await asyncio.gather(*self._slots, return_exceptions=True)
            self._outbox.put_nowait(None)
            await writer
        return self._exhausted

    async def doing(self) -> list[str]:
        """What is under way, a line for each candidate."""
        return list(self._doing.values())

    async def stop(self) -> None:
        """Cancel the candidates in flight. What is evaluated already is inserted before `run` returns."""
        self._over = True
        for slot in self._slots:
            slot.cancel()

    async def _slots_end(self, writer: asyncio.Task[None]) -> None:
        """Wait for every slot to end; raise the first error, the writer's included."""
        waiting: set[asyncio.Task[None]] = set(self._slots)
        while waiting and not writer.done():
            done, _ = await asyncio.wait({*waiting, writer}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if not task.cancelled():
                    task.result()
            waiting -= done

    async def _slot(self) -> None:
        while not self._over:
            step = self._next_step
            self._next_step += 1
            expansion = self._strategy.ask(
                View(
                    step=step,
                    island=self._index,
                    in_flight=tuple(self._in_flight.values()),
                    fraction=self._fraction,
                )
            )
            self._in_flight[step] = expansion
            exhausted = None
            try:
                if not await self._carry_out(expansion):
                    self._over = True
                    self._news.set()
            except ExhaustedError as error:
                exhausted = str(error)
            finally:
                self._in_flight.pop(step, None)
                self._doing.pop(step, None)
            if exhausted is not None and not await self._something_new(exhausted):
                return

    async def _something_new(self, exhausted: str) -> bool:
        """Wait until a node is told, after which there may be more to propose; False where none is under way any more."""
        self._idle += 1
        if self._idle == self._settings.in_flight:
            self._exhausted = exhausted
            self._news.set()
            return False
        self._news.clear()
        await self._news.wait()
        self._idle -= 1
        return self._exhausted is None

    async def _carry_out(self, expansion: Expansion) -> bool:
        """Propose, judge and insert one kernel; False when the run has ended instead."""
        plan = self._plan
        context = Context(
            task=plan.task,
            target=plan.target,
            parents=await self._library.get(expansion.parents),
            history=await self._library.get(self._history.choose(expansion)),
            known=self._judged,
            models=plan.models,
            judge=self._judge,
            purpose=f"{plan.run}.{self._index}.{expansion.step}",
        )
        usage, trials = Usage(), 0
        exchanges: tuple[int, ...] = ()
        for attempt in range(self._settings.reproposals + 1):
            is_last = attempt == self._settings.reproposals
            seed = derive_seed(expansion.seed, "again", attempt) if attempt else expansion.seed
            proposal = expansion.model_copy(update={"seed": seed})
            self._doing[expansion.step] = "a kernel was being proposed"
            try:
                draft = await self._retried(self._operator.propose, proposal, context)
            except OverspentError as error:
                await self._store.finish(str(error))
                return False
            kernel, usage = draft.kernel, usage + draft.usage
            exchanges, trials = (*exchanges, *draft.exchanges), trials + draft.trials
            if kernel.id in self._judged and not is_last:
                continue
            answer = await self._store.claim(self._member, kernel.id, patient=is_last)
            if answer.claim is Claim.OVER:
                return False
            if answer.claim is not Claim.GRANTED and not is_last:
                self._judged.add(kernel.id)
                continue
            self._doing[expansion.step] = f"{draft.operator} was being judged"
            evaluation = answer.evaluation or await self._verdict(draft)
            node = Node(
                id=context.purpose,
                run=plan.run,
                island=self._index,
                step=expansion.step,
                phase=expansion.phase,
                parents=expansion.parents,
                operator=draft.operator,
                note=draft.note,
                kernel_id=kernel.id,
                traits=draft.traits,
                usage=usage,
                model=draft.model,
                exchanges=exchanges,
                trials=trials,
                evaluation=evaluation,
                cached=answer.claim is Claim.KNOWN,
                seconds=max(0.0, self._clock + time.monotonic()),
            )
            await self._insert(node, kernel)
            break
        return True

    async def _verdict(self, draft: Draft) -> Evaluation:
        if draft.rejected is None:
            return await self._evaluate(draft.kernel)
        return Evaluation(
            kernel_id=draft.kernel.id,
            task_id=self._plan.task.id,
            device=self._plan.target.device,
            status=Status.INVALID_SOURCE,
            diagnosis=draft.rejected,
        )

    async def _judge(self, kernel: Kernel) -> Evaluation:
        """Of a kernel that becomes no node."""
        return await self._retried(self._plan.evaluator.evaluate, kernel)

    async def _evaluate(self, kernel: Kernel) -> Evaluation:
        """Judge a kernel that this island holds the claim on; the claim goes back if there is no verdict."""
        try:
            return await self._retried(self._plan.evaluator.evaluate, kernel)
        except BaseException:
            self._store.release(self._member, kernel.id)
            raise

    async def _retried(self, call: Callable[P, Awaitable[T]], *values: P.args, **named: P.kwargs) -> T:
        for attempt in range(self._settings.retries):
            try:
                return await _plainly(call(*values, **named))
            except (*_INFRASTRUCTURE, RayError) as error:
                if isinstance(error, RayTaskError) and not isinstance(error.cause, _INFRASTRUCTURE):
                    raise
                await asyncio.sleep(_BACKOFF_SECONDS * 2**attempt)
        return await _plainly(call(*values, **named))

    async def _insert(self, node: Node, kernel: Kernel) -> None:
        """Hand a node to the writer; return when it is on disk and the strategy was told."""
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._outbox.put_nowait(_Entry(node, kernel, told))
        await told

    async def _write(self) -> None:
        ended = False
        while not ended:
            batch = [await self._outbox.get()]
            while not self._outbox.empty():
                batch.append(self._outbox.get_nowait())
            ended = None in batch
            entries = [entry for entry in batch if entry is not None]
            if not entries:
                continue
            receipt = await self._store.insert(self._member, [(entry.node, entry.kernel) for entry in entries])
            self._fraction = receipt.fraction
            for entry in entries:
                self._library.add(entry.node, entry.kernel)
                self._tell(entry.node)
                if not entry.told.cancelled():
                    entry.told.set_result(None)
                for neighbour, node_ids in self._migration.due(self._own_nodes).items():
                    await self._store.send(neighbour, node_ids)
            if receipt.mail:
                await self._immigrate(receipt.mail)

    async def _immigrate(self, node_ids: tuple[str, ...]) -> None:
        """Take in nodes whose kernels are new here, at the end of the log."""
        foreign = [node_id for node_id in dict.fromkeys(node_ids) if node_id not in self._migrants]
        entries: dict[str, tuple[Node, Kernel]] = {}
        for node, kernel in await self._store.fetch(foreign):
            if node.island != self._index and node.kernel_id not in self._told:
                entries.setdefault(node.kernel_id, (node, kernel))
        if entries:
            await self._store.receive(self._member, [node.id for node, _ in entries.values()])
        for node, kernel in entries.values():
            self._library.add(node, kernel)
            self._tell(node)

    def _tell(self, node: Node) -> None:
        self._strategy.tell(node)
        self._operator.tell(node)
        self._history.tell(node)
        self._news.set()
        if node.kernel_id not in self._told:
            self._told.add(node.kernel_id)
            self._judged.add(node.kernel_id)
            self._migration.tell(node)
        if node.island == self._index:
            self._own_nodes += 1
            self._in_flight.pop(node.step, None)
        else:
            self._migrants.add(node.id)


async def _plainly(answer: Awaitable[T]) -> T:
    """What an actor raises for a person is no failure to be tried again: whoever raised it has."""
    try:
        return await answer
    except RayTaskError as error:
        raise plain(error) from None
