"""The built-in operator: drafts, mutates and crosses kernels with no model."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, ParamSpec

from kernelevolve.core.evaluation import Diagnosis
from kernelevolve.core.graph import Draft, Expansion, Node, Phase
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.target import Target
from kernelevolve.core.task import Task
from kernelevolve.llm.once import Once
from kernelevolve.synthesis.base import Context, ExhaustedError, Operator, Parent
from kernelevolve.synthesis.builtin.base import Point, Writer, Written
from kernelevolve.synthesis.builtin.chain import WORDS, Chain, Stage
from kernelevolve.synthesis.builtin.knobs import Knob
from kernelevolve.synthesis.builtin.moves import KnobMove, crossed, drafted, mutated
from kernelevolve.synthesis.builtin.plan.traits import is_large
from kernelevolve.synthesis.builtin.retuning.source_knobs import mutate, variants
from kernelevolve.synthesis.builtin.writers import ANY, writer_for
from kernelevolve.synthesis.traced.builder import UnsupportedError
from kernelevolve.synthesis.traced.program import Program

if TYPE_CHECKING:
    from kernelevolve.synthesis.builtin.seeds import Seed
    from kernelevolve.synthesis.builtin.tracing import Untraced

P = ParamSpec("P")

_REMEMBERED = 8
"""The number of kernels that are kept. Parents are written again to find the knobs around them."""
_GLANCE_SECONDS, _PATIENCE_SECONDS = 0.2, 3.0
"""The seconds to wait for a program that is still being traced, before a copy of the reference is proposed instead, and before a kernel
that another process has to make."""


@dataclass
class BuiltinOperator(Operator):
    """Writes kernels from the traced form of the reference. Each is a point in a space of knobs.

    It changes kernels of its own through their knobs, structure included, and writes them anew. It changes other kernels through the knobs
    in their text. If the reference cannot be traced, or all kernels from the traced form fail, it starts from TorchInductor's code, then
    from the ATen graph, then from the reference's own operations. It proposes a copy of the reference first if no kernel is known to be
    correct and the first one may take long, and later if every correct kernel is slower than the reference.
    """

    trusted: ClassVar[bool] = True

    attempts: int
    """The number of tries to find a kernel that was not evaluated yet."""
    draft_moves: int
    """The most knobs that a draft moves away from their defaults."""
    mutation_moves: int
    """The most knobs that a mutation moves."""
    crossover_mutation: float
    """The probability that a crossover moves one more knob."""
    program: Program | None = None
    """The traced form of the reference, or None while there is none."""
    writer: Writer = ANY
    """The writer of kernels."""
    pending: bool = False
    """Whether another process is still tracing the reference. A copy of the reference is then proposed before waiting for the program."""
    chain: Chain = field(default_factory=Chain, compare=False)
    """What is known of the stages. Each island has its own."""
    _seeds: dict[Stage, Once[tuple[Seed, ...]]] = field(default_factory=dict, init=False, compare=False, repr=False)
    _late: Once[Program | Untraced] | None = field(default=None, init=False, compare=False, repr=False)
    """The program that arrives during the search."""
    _points: dict[Any, Written | Draft] = field(default_factory=dict, init=False, compare=False, repr=False)
    """The last kernels that were written, by task and knobs."""

    def prepare(self, task: Task) -> BuiltinOperator:
        from kernelevolve.synthesis.builtin.tracing import kept_trace

        prepared = self.provisional(task)
        prepared._take(kept_trace(task))
        return prepared

    def provisional(self, task: Task) -> BuiltinOperator:
        from kernelevolve.synthesis.builtin.seeds import forbidden

        return replace(self, chain=Chain(forbidden(task)), pending=True)

    def for_target(self, target: Target) -> BuiltinOperator:
        return replace(self, writer=writer_for(target))

    def _take(self, traced: Program | Untraced) -> None:
        self.pending = False
        if isinstance(traced, Program):
            self.program = traced
        else:
            self.chain.absent[Stage.TRACED] = traced.why

    def tell(self, node: Node) -> None:
        self.chain.tell(node)

    async def propose(self, expansion: Expansion, context: Context) -> Draft:
        rng = random.Random(expansion.seed)
        if expansion.phase is not Phase.DRAFT and not self._is_copy_wanted():
            draft = await self._aside(self._expanded, context, rng)
            if draft is not None:
                return draft
        return await self._draft(expansion.step, context, rng)

    def _expanded(self, context: Context, rng: random.Random) -> Draft | None:
        """Return a new kernel near the parents, or None if there is none."""
        if all(self.chain.hopeless(parent.node) for parent in context.parents):
            return None
        for _ in range(self.attempts):
            draft = self._changed(context, rng)
            if draft is None or draft.kernel.id not in context.known_kernels:
                return draft
        return None

    def _changed(self, context: Context, rng: random.Random) -> Draft | None:
        if len(context.parents) > 1:
            return self._crossover(context, rng)
        return self._mutate(context.parents[0], context.task, rng)

    async def _draft(self, step: int, context: Context, rng: random.Random) -> Draft:
        if self._is_copy_due(step):
            [copy, *_] = await self._seeds_of(Stage.REFERENCE, context.task)
            if copy.kernel.id not in context.known_kernels:
                return self._seed_draft(Stage.REFERENCE, copy)
        for stage in self.chain.plan(rng):
            if stage is Stage.TRACED:
                if self.pending:
                    draft = await self._meanwhile(context)
                    if draft is not None:
                        return draft
                draft = await self._aside(self._traced, step, context, rng) if self.program is not None else None
                if draft is None and self.chain.works(stage) and not self.chain.none_faster:
                    break
            else:
                draft = await self._from_seeds(stage, context, rng)
            if draft is not None:
                return draft
        raise ExhaustedError(self._why_exhausted())

    async def _aside(self, write: Callable[P, Draft | None], *values: P.args, **named: P.kwargs) -> Draft | None:
        """Write a draft. If that takes seconds, it is done in a thread, so that the island goes on."""
        if self._is_large():
            return await asyncio.to_thread(write, *values, **named)
        return write(*values, **named)

    async def _meanwhile(self, context: Context) -> Draft | None:
        """Return a draft that takes less time than tracing. Return None once there is a program or nothing else is new."""
        program = asyncio.ensure_future(self._wait_for_program(context.task))
        try:
            for stage, patience in ((Stage.REFERENCE, _GLANCE_SECONDS), (Stage.ATEN, _PATIENCE_SECONDS)):
                await asyncio.wait({program}, timeout=patience)
                seeds = asyncio.ensure_future(self._unjudged(stage, context))
                await asyncio.wait({program, seeds}, return_when=asyncio.FIRST_COMPLETED)
                if program.done():
                    seeds.cancel()
                    break
                if seeds.result() is not None:
                    return seeds.result()
            await program
        finally:
            program.cancel()
        return None

    async def _unjudged(self, stage: Stage, context: Context) -> Draft | None:
        """Return the first new seed of a stage, or None if there is none."""
        if stage in self.chain.absent:
            return None
        try:
            seeds = await self._seeds_of(stage, context.task)
        except UnsupportedError as reason:
            self.chain.absent[stage] = f"{WORDS[stage]} cannot be had: {reason}"
            return None
        return next((self._seed_draft(stage, s) for s in seeds if s.kernel.id not in context.known_kernels), None)

    def _is_copy_due(self, step: int) -> bool:
        if Stage.REFERENCE in self.chain.absent:
            return False
        if not self.chain.nothing_right:
            return self._is_copy_wanted()
        return self.pending or self.chain.any_doubted or (step == 0 and (self.program is None or self._is_large()))

    def _is_copy_wanted(self) -> bool:
        """Return whether a copy of the reference would be the best kernel so far."""
        possible = Stage.REFERENCE not in self.chain.absent and not self.chain.tried(Stage.REFERENCE)
        return possible and self.chain.none_faster

    def _is_large(self) -> bool:
        return self.program is not None and is_large(self.program)

    async def _wait_for_program(self, task: Task) -> None:
        """Wait until there is a program or a reason why there is none."""
        from kernelevolve.synthesis.builtin.tracing import kept_trace

        if self._late is None:
            self._late = Once(lambda: asyncio.to_thread(kept_trace, task))
        traced = await self._late.get()
        if self.pending:
            self._take(traced)

    def _why_exhausted(self) -> str:
        reasons = self.chain.why_not_above(Stage.REFERENCE)
        last = self.chain.absent.get(Stage.REFERENCE)
        if self.chain.nothing_right and last:
            return f"the built-in operator has no kernel: {reasons}; {last}"
        return "all kernels that the built-in operator has for this task were judged"

    def _traced(self, step: int, context: Context, rng: random.Random) -> Draft | None:
        """Return a kernel at a new point of the program's space, or None if none is found."""
        default = self._at((), context.task)
        if isinstance(default, Draft):
            return default if default.kernel.id not in context.known_kernels else None
        waited = (self._late is not None or self._is_large()) and not self.chain.tried(Stage.TRACED)
        if default.kernel.id not in context.known_kernels and (step == 0 or waited):
            note = "the default schedule"
            return Draft(kernel=default.kernel, operator="builtin/draft", note=note, traits=default.traits)
        for _ in range(self.attempts):
            move = drafted(default.kernel.knobs, default.space, self.draft_moves, rng)
            draft = self._written(move, context.task, "draft")
            if draft.kernel.id not in context.known_kernels:
                return draft
        return None

    async def _from_seeds(self, stage: Stage, context: Context, rng: random.Random) -> Draft | None:
        """Return a seed of a stage, or one with other knobs. Return None if there is none that is new."""
        new = await self._unjudged(stage, context)
        if new is not None or stage in self.chain.absent:
            return new
        seeds = await self._seeds_of(stage, context.task)
        chosen = rng.choice(seeds).kernel
        for source, note in self._retuned(chosen, rng):
            kernel = Kernel(source=source, language=chosen.language)
            if kernel.id not in context.known_kernels:
                return Draft(kernel=kernel, operator=f"builtin/{stage}", note=note)
        return None

    def _retuned(self, kernel: Kernel, rng: random.Random) -> Iterator[tuple[str, str]]:
        """Yield random changes of the knobs in a kernel's text, as (text, note), and then all of them if they can be enumerated."""
        for _ in range(self.attempts):
            retuned = mutate(kernel.source, kernel.language, rng)
            if retuned is None:
                return
            yield retuned
        yield from variants(kernel.source, kernel.language, rng)

    async def _seeds_of(self, stage: Stage, task: Task) -> tuple[Seed, ...]:
        from kernelevolve.synthesis.builtin.seeds import seeds_of

        if stage not in self._seeds:
            self._seeds[stage] = Once(lambda: asyncio.to_thread(seeds_of, task, stage))
        return await self._seeds[stage].get()

    def _seed_draft(self, stage: Stage, seed: Seed) -> Draft:
        note = "; ".join(filter(None, [f"{WORDS[stage]}", seed.remark, self.chain.why_not_above(stage)]))
        return Draft(kernel=seed.kernel, operator=f"builtin/{stage}", note=note)

    def _program(self) -> Program:
        if self.program is None:
            raise RuntimeError("the operator was not prepared for a task")
        return self.program

    def _own(self, parent: Parent, task: Task) -> Mapping[str, Knob] | None:
        """Return the space around a kernel of this operator, or None for any other kernel."""
        if self.program is None or not parent.kernel.knobs:
            return None
        again = self._at(tuple(sorted(parent.kernel.knobs.items())), task)
        return again.space if isinstance(again, Written) and again.kernel.source == parent.kernel.source else None

    def _mutate(self, parent: Parent, task: Task, rng: random.Random) -> Draft | None:
        space = self._own(parent, task)
        if space is None:
            return self._textual(parent.kernel, rng)
        return self._written(mutated(parent.kernel.knobs, space, self.mutation_moves, rng), task, "mutate")

    def _textual(self, kernel: Kernel, rng: random.Random) -> Draft | None:
        """Return a change of the knobs in a kernel's text, or None if it has none."""
        retuned = mutate(kernel.source, kernel.language, rng)
        if retuned is None:
            return None
        source, note = retuned
        return Draft(kernel=Kernel(source=source, language=kernel.language), operator="builtin/retune", note=note)

    def _crossover(self, context: Context, rng: random.Random) -> Draft | None:
        first, second = context.parents[:2]
        space = self._own(first, context.task)
        if space is None or self._own(second, context.task) is None:
            own = first if space is not None else second
            return self._mutate(own, context.task, rng)
        if all(len(knob.domain) < 2 for knob in space.values()):
            return None
        move = crossed(first.kernel.knobs, second.kernel.knobs, space, self.crossover_mutation, rng)
        return self._written(move, context.task, "crossover")

    def _written(self, move: KnobMove, task: Task, name: str) -> Draft:
        made = self._at(tuple(sorted(move.point.items())), task)
        if isinstance(made, Draft):
            return made.model_copy(update={"operator": f"builtin/{name}", "note": move.note})
        return Draft(kernel=made.kernel, operator=f"builtin/{name}", note=move.note, traits=made.traits)

    def _at(self, knobs: Point, task: Task) -> Written | Draft:
        """Return the kernel at a point, or a rejected draft if the writer fails there."""
        point = task.id, knobs
        if point not in self._points:
            self._points[point] = self._written_at(knobs, task)
            while len(self._points) > _REMEMBERED:
                self._points.pop(next(iter(self._points)), None)
        return self._points[point]

    def _written_at(self, knobs: Point, task: Task) -> Written | Draft:
        try:
            return self.writer.write(self._program(), task, knobs)
        except Exception as fault:  # noqa: BLE001 - a bug at one point must not end a search; the node shows it
            summary = f"the writer fails at this point: {type(fault).__name__}: {' '.join(str(fault).split())[:200]}"
            kernel = Kernel(source=f"# {dict(knobs)}\n", language=self.writer.language)
            return Draft(kernel=kernel, operator="builtin/draft", rejected=Diagnosis(stage="source", summary=summary))
