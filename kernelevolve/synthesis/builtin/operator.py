"""The built-in operator: drafts, mutates and crosses kernels with no model."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

from devices.registry import get_device
from kernelevolve.core.errors import UserError
from kernelevolve.core.graph import Draft, Expansion, Phase
from kernelevolve.core.kernel import Kernel, KnobValue
from kernelevolve.core.task import Task
from kernelevolve.synthesis.base import Context, Operator, Parent
from kernelevolve.synthesis.builtin.cpp.writer import write
from kernelevolve.synthesis.builtin.knobs import Choices, Knob
from kernelevolve.synthesis.builtin.moves import Move, changed, crossed, drafted, mutated
from kernelevolve.synthesis.builtin.source_knobs import mutate
from kernelevolve.synthesis.builtin.target import Target
from kernelevolve.synthesis.traced.program import Program


@dataclass(frozen=True)
class BuiltinOperator(Operator):
    """Writes kernels from the traced form of the reference, as a point in a space of knobs.

    A kernel of its own is changed through its knobs, structure included, and written anew; anybody else's through the knobs
    that its text shows. What cannot be traced starts from TorchInductor's code, and what that refuses from the ATen graph.
    """

    trusted: ClassVar[bool] = True

    attempts: int
    """Tries for a kernel that nobody has judged yet."""
    draft_moves: int
    """Knobs that a draft moves away from the default, at most."""
    mutation_moves: int
    """Knobs that a mutation moves, at most."""
    crossover_mutation: float
    """Probability that a crossover moves one knob as well."""
    program: Program | None = None
    target: Target = field(default_factory=lambda: Target.of({}))
    seed: Kernel | None = None
    """Where drafts start when there is no program."""
    seed_note: str = ""

    def prepare(self, task: Task, device: str) -> BuiltinOperator:
        if device != "cpu":
            raise UserError(f"the built-in operator writes kernels for the device cpu only, not {device}")
        from kernelevolve.synthesis.builtin.tracing import trace_task

        traced = trace_task(task)
        if isinstance(traced, Program):
            return replace(self, program=traced, target=Target.of(get_device(device).facts()))
        return replace(self, seed=traced.kernel, seed_note=traced.note)

    async def propose(self, expansion: Expansion, context: Context) -> Draft:
        rng = random.Random(expansion.seed)
        draft = self._propose(expansion, context, rng)
        for _ in range(self.attempts - 1):
            if draft.kernel.id not in context.known:
                break
            draft = self._propose(expansion, context, rng)
        return draft

    def _propose(self, expansion: Expansion, context: Context, rng: random.Random) -> Draft:
        if expansion.phase is Phase.DRAFT:
            return self._draft(expansion.step, context, rng)
        if len(context.parents) > 1:
            return self._crossover(context, rng)
        return self._mutate(context.parents[0], context.task, rng)

    def _draft(self, step: int, context: Context, rng: random.Random) -> Draft:
        if self.seed is not None:
            seed = Draft(kernel=self.seed, operator="builtin/seed", note=self.seed_note)
            return self._textual(self.seed, context.task, rng) if self.seed.id in context.known else seed
        default = written(self._program(), self.target, context.task, ())
        plain, space = default.kernel, default.space
        if plain.id not in context.known and step == 0:
            note = "the default schedule"
            return Draft(kernel=plain, operator="builtin/draft", note=note, traits=default.traits)
        return self._written(drafted(plain.knobs, space, self.draft_moves, rng), context.task, "draft")

    def _program(self) -> Program:
        if self.program is None:
            raise RuntimeError("the operator was not prepared for a task")
        return self.program

    def _own(self, parent: Parent, task: Task) -> Mapping[str, Knob] | None:
        """The space of a kernel that this operator wrote, None for anybody else's."""
        if self.program is None or not parent.kernel.knobs:
            return None
        again, space = render(self._program(), self.target, task, tuple(sorted(parent.kernel.knobs.items())))
        return space if again.source == parent.kernel.source else None

    def _mutate(self, parent: Parent, task: Task, rng: random.Random) -> Draft:
        space = self._own(parent, task)
        if space is None:
            return self._textual(parent.kernel, task, rng)
        return self._written(mutated(parent.kernel.knobs, space, self.mutation_moves, rng), task, "mutate")

    def _textual(self, kernel: Kernel, task: Task, rng: random.Random) -> Draft:
        """A change of the knobs that the text of a kernel shows; a draft of our own where it shows none."""
        retuned = mutate(kernel.source, kernel.language, rng)
        if retuned is None and self.seed is not None:
            return Draft(kernel=self.seed, operator="builtin/seed", note=self.seed_note)
        if retuned is None:
            plain, space = render(self._program(), self.target, task, ())
            return self._written(changed(plain.knobs, space, self.draft_moves, rng), task, "draft")
        source, note = retuned
        return Draft(kernel=Kernel(source=source, language=kernel.language), operator="builtin/retune", note=note)

    def _crossover(self, context: Context, rng: random.Random) -> Draft:
        first, second = context.parents[:2]
        space = self._own(first, context.task)
        if space is None or self._own(second, context.task) is None:
            own = first if space is not None else second
            return self._mutate(own, context.task, rng)
        move = crossed(first.kernel.knobs, second.kernel.knobs, space, self.crossover_mutation, rng)
        return self._written(move, context.task, "crossover")

    def _written(self, move: Move, task: Task, name: str) -> Draft:
        made = written(self._program(), self.target, task, tuple(sorted(move.point.items())))
        return Draft(kernel=made.kernel, operator=f"builtin/{name}", note=move.note, traits=made.traits)


@dataclass(frozen=True)
class Written:
    """The kernel at a point of a program's space."""

    kernel: Kernel
    space: Mapping[str, Knob]
    """Around it."""
    traits: Mapping[str, float]


def written(program: Program, target: Target, task: Task, knobs: tuple[tuple[str, KnobValue], ...]) -> Written:
    """With these knobs, and the default of any other."""
    # In the island: with it comes libcst, most of a second that the driver's start need not wait for.
    from kernelevolve.synthesis.builtin.kernel_file import kernel_file

    choices = Choices(dict(knobs))
    source = write(program, choices, target)
    return Written(kernel_file(task, source, choices), dict(choices.space), source.traits)


def render(
    program: Program, target: Target, task: Task, knobs: tuple[tuple[str, KnobValue], ...]
) -> tuple[Kernel, Mapping[str, Knob]]:
    """The kernel at a point of the program's space, and the space around it."""
    made = written(program, target, task, knobs)
    return made.kernel, made.space
