"""One island: a search strategy and the candidates that it has in flight."""

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
from islands.population import Population
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
from kernelevolve.llm.errors import BudgetExceededError
from kernelevolve.remote import plain, stand_by
from kernelevolve.search.base import Strategy
from kernelevolve.store.actor import Member
from kernelevolve.store.client import StoreClient
from kernelevolve.store.ledger import Claim
from kernelevolve.synthesis.base import Context, ExhaustedError, Operator

_INFRASTRUCTURE = (OSError, InfrastructureError)
"""The errors that are retried. Any other error that our own code raises is a bug and is not retried."""
_BACKOFF_SECONDS = 0.2

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class SearchPlan:
    """The data that every island of a run receives."""

    run: str
    """The name of the run."""
    task: Task
    target: Target
    operator: Operator
    evaluator: Evaluator
    settings: IslandSettings
    seed: int
    """The seed of the run."""
    models: Models | None = None
    """The models that the operator may ask; None if the run uses none."""


@dataclass(frozen=True)
class _Entry:
    node: Node
    kernel: Kernel
    inserted: asyncio.Future[None]
    """Completes when the node is on disk and the strategy has received it."""


class Island:
    """An asyncio Ray actor that runs one population.

    `run` searches until the end of the run; `stop` cancels the candidates in flight. A single writer task inserts
    nodes in the order in which the strategy receives them. This order is the log that a restarted island replays.
    """

    def __init__(self, index: int, plan: SearchPlan, strategy: Mapping[str, Any], store: StoreClient) -> None:
        """Create an island. Its strategy is a mapping with `_target_`, instantiated with the island's own seed."""
        stand_by()
        settings = plan.settings
        self._index = index
        self._plan = plan
        self._settings = settings
        self._store = store
        self._operator = plan.operator
        made: Strategy = instantiate(dict(strategy), seed=derive_seed(plan.seed, "island", index))
        self._population: Population[str] = Population(index, made, settings, plan.seed)
        self._history = History(settings.history)
        self._library = Library(store)
        self._doing: dict[int, str] = {}
        """Step -> a description of the work in progress."""
        self._idle = 0
        """The number of slots that wait for a new node because the operator has nothing new to propose."""
        self._exhausted: str | None = None
        self._outbox: asyncio.Queue[_Entry | None]
        self._slots: list[asyncio.Task[None]] = []
        self._fraction = 0.0
        self._over = False

    async def run(self) -> str | None:
        """Replay the log, then search until the end of the run.

        The run ends when the store says so, or when the operator has nothing new to propose.

        Returns:
            The operator's reason for having nothing new to propose, or None if the run ended otherwise.

        Raises:
            Exception: The error of an operator or of an evaluation that persisted after all retries.
        """
        self._outbox = asyncio.Queue()
        self._news = asyncio.Event()
        self._member: Member = await self._store.enlist(self._index)
        self._population.next_step = self._member.next_step
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
        """Return the work in progress, one line per candidate."""
        return list(self._doing.values())

    async def stop(self) -> None:
        """Cancel the candidates in flight. Nodes that are already evaluated are inserted before `run` returns."""
        self._over = True
        for slot in self._slots:
            slot.cancel()

    async def _slots_end(self, writer: asyncio.Task[None]) -> None:
        """Wait for every slot to end. Raise the first error of a slot or of the writer."""
        waiting: set[asyncio.Task[None]] = set(self._slots)
        while waiting and not writer.done():
            done, _ = await asyncio.wait({*waiting, writer}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if not task.cancelled():
                    task.result()
            waiting -= done

    async def _slot(self) -> None:
        while not self._over:
            expansion = self._population.ask(self._fraction)
            exhausted = None
            try:
                if not await self._carry_out(expansion):
                    self._over = True
                    self._news.set()
            except ExhaustedError as error:
                exhausted = str(error)
            finally:
                self._population.drop(expansion.step)
                self._doing.pop(expansion.step, None)
            if exhausted is not None and not await self._something_new(exhausted):
                return

    async def _something_new(self, exhausted: str) -> bool:
        """Wait until a node is inserted, since the operator may have more to propose then.

        Return False if every slot is idle.
        """
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
        """Propose, evaluate and insert one kernel. Return False if the run has ended instead."""
        plan, population = self._plan, self._population
        context = Context(
            task=plan.task,
            target=plan.target,
            parents=await self._library.get(expansion.parents),
            history=await self._library.get(self._history.choose(expansion)),
            known_kernels=population.known_kernels,
            models=plan.models,
            evaluate=self._evaluate_apart,
            node_id=f"{plan.run}.{self._index}.{expansion.step}",
        )
        usage, extra = Usage(), 0
        exchanges: tuple[int, ...] = ()
        for proposal, is_last in population.attempts(expansion):
            self._doing[expansion.step] = "a kernel was being proposed"
            try:
                draft = await self._retried(self._operator.propose, proposal, context)
            except BudgetExceededError as error:
                await self._store.finish(str(error))
                return False
            kernel, usage = draft.kernel, usage + draft.usage
            exchanges, extra = (*exchanges, *draft.exchanges), extra + draft.extra_evaluations
            if kernel.id in population.known_kernels and not is_last:
                continue
            answer = await self._store.claim(self._member, kernel.id, patient=is_last)
            if answer.claim is Claim.OVER:
                return False
            if answer.claim is not Claim.GRANTED and not is_last:
                population.known_kernels.add(kernel.id)
                continue
            self._doing[expansion.step] = f"{draft.operator} was being evaluated"
            evaluation = answer.evaluation or await self._verdict(draft)
            node = Node(
                id=context.node_id,
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
                extra_evaluations=extra,
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

    async def _evaluate_apart(self, kernel: Kernel) -> Evaluation:
        """Evaluate a kernel that does not become a node."""
        return await self._retried(self._plan.evaluator.evaluate, kernel)

    async def _evaluate(self, kernel: Kernel) -> Evaluation:
        """Evaluate a kernel that this island has claimed. Release the claim if the evaluation fails."""
        try:
            return await self._retried(self._plan.evaluator.evaluate, kernel)
        except BaseException:
            self._store.release(self._member, kernel.id)
            raise

    async def _retried(self, call: Callable[P, Awaitable[T]], *values: P.args, **named: P.kwargs) -> T:
        for attempt in range(self._settings.retries):
            try:
                return await _unwrapped(call(*values, **named))
            except (*_INFRASTRUCTURE, RayError) as error:
                if isinstance(error, RayTaskError) and not isinstance(error.cause, _INFRASTRUCTURE):
                    raise
                await asyncio.sleep(_BACKOFF_SECONDS * 2**attempt)
        return await _unwrapped(call(*values, **named))

    async def _insert(self, node: Node, kernel: Kernel) -> None:
        """Hand a node to the writer, and return when it is on disk and the strategy has received it."""
        inserted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._outbox.put_nowait(_Entry(node, kernel, inserted))
        await inserted

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
                if not entry.inserted.cancelled():
                    entry.inserted.set_result(None)
                for neighbour, node_ids in self._population.departures().items():
                    await self._store.send(neighbour, node_ids)
            if receipt.mail:
                await self._immigrate(receipt.mail)

    async def _immigrate(self, node_ids: tuple[str, ...]) -> None:
        """Append received nodes to the log if their kernels are new on this island."""
        foreign = [node_id for node_id in dict.fromkeys(node_ids) if self._population.is_stranger(node_id)]
        entries: dict[str, tuple[Node, Kernel]] = {}
        for node, kernel in await self._store.fetch(foreign):
            if self._population.takes(node, node.kernel_id):
                entries.setdefault(node.kernel_id, (node, kernel))
        if entries:
            await self._store.receive(self._member, [node.id for node, _ in entries.values()])
        for node, kernel in entries.values():
            self._library.add(node, kernel)
            self._tell(node)

    def _tell(self, node: Node) -> None:
        self._population.tell(node, node.kernel_id)
        self._operator.tell(node)
        self._history.tell(node)
        self._news.set()


async def _unwrapped(answer: Awaitable[T]) -> T:
    """Await a call. Raise the `UserError` of an actor as itself, so that it is not retried as a failure of Ray."""
    try:
        return await answer
    except RayTaskError as error:
        raise plain(error) from None
