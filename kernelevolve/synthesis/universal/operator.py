"""One operator for every expansion: what its prompt becomes depends on what there is."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Literal

from devices.toolchains.language import language_of
from kernelevolve.core.errors import UserError
from kernelevolve.core.evaluation import Diagnosis
from kernelevolve.core.graph import Draft, Expansion, Node
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.task import Task
from kernelevolve.core.usage import Usage
from kernelevolve.llm.base import Models
from kernelevolve.llm.choosing import Chooser
from kernelevolve.llm.errors import MissingExchangeError, RefusedError, TooLongError, TransientError
from kernelevolve.llm.exchange import Exchange
from kernelevolve.llm.lengths import tokens_of_message
from kernelevolve.llm.messages import Completion, Finish, Message, Request, Role, Sampling, Tool
from kernelevolve.synthesis.answers.cleaning import cleaned
from kernelevolve.synthesis.answers.errors import AnswerError
from kernelevolve.synthesis.answers.reading import read_answer
from kernelevolve.synthesis.base import Context, Operator
from kernelevolve.synthesis.universal.agent import AgentSettings, work
from kernelevolve.synthesis.universal.folding import folded, unfolded
from kernelevolve.synthesis.universal.prompt import Material, Move, PromptBuilder
from kernelevolve.synthesis.universal.task_facts import TaskFacts, examine
from kernelevolve.synthesis.universal.templates import AGENT, CORRECTION, SHIPPED, Templates
from kernelevolve.synthesis.universal.tools import Workbench

_SHRINKINGS = 4
_SHRUNK = 0.6
"""Of a prompt that an endpoint finds too long, that is tried next where it does not say what it takes."""
_MARGIN = 64
"""Tokens that chat templates add."""
_DIAGNOSIS_TOKENS = 4000
"""Of an answer, its reasoning included;"""
_DIAGNOSIS_LENGTH = 2000
"""characters of it that enter the next prompt."""
_NOTE = re.compile(r"^\W*NOTE\W*:\W*(.+?)\W*$", re.MULTILINE | re.IGNORECASE)
_NOTE_LENGTH = 200
_SEEDS = 1 << 31
"""Endpoints take 31 bits."""


@dataclass
class UniversalOperator(Operator):
    """Asks a model for a draft, a repair, an improvement or a crossover.

    An answer that cannot be used goes back to the model, `corrections` times, with the reason; then the draft is one that was rejected.
    """

    needs_models: ClassVar[bool] = True

    prompt_tokens: int
    """At most, of a prompt;"""
    answer_tokens: int
    """of an answer."""
    temperature: float | None
    form: Literal["whole", "edits", "either"]
    """Of answers."""
    corrections: int
    refine: bool
    """Have the model say what bounds the parents and what to do, in a request of its own, before it does it."""
    templates: str | None
    """A folder with templates in place of the shipped ones."""
    agent: AgentSettings
    """Of the inner loop; a mapping of its settings will do."""
    facts: TaskFacts | None = None
    _templates: Templates = field(init=False, repr=False)
    _builder: PromptBuilder | None = field(default=None, init=False, repr=False)
    _chooser: Chooser | None = field(default=None, init=False, repr=False)
    _told: list[Node] = field(default_factory=list, init=False, repr=False)
    _fitness: dict[str, float] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        for name, value, least in (
            ("prompt_tokens", self.prompt_tokens, 1000),
            ("answer_tokens", self.answer_tokens, 100),
            ("corrections", self.corrections, 0),
        ):
            if value < least:
                raise UserError(f"operator.{name}={value}: must be at least {least}")
        self.agent = AgentSettings.model_validate(self.agent)
        self._templates = Templates(self.templates)

    def prepare(self, task: Task, device: str) -> UniversalOperator:
        prepared = replace(self, facts=examine(task))
        prepared._prompts(Context.bare(task, device)).build(Material(Move.DRAFT), self.prompt_tokens)
        return prepared

    def tell(self, node: Node) -> None:
        self._fitness[node.id] = node.fitness
        if self._chooser is not None:
            self._tell_chooser(self._chooser, node)
        else:
            self._told.append(node)

    async def propose(self, expansion: Expansion, context: Context) -> Draft:
        if context.models is None:
            raise RuntimeError("a universal operator without models")
        rng = random.Random(expansion.seed)
        model = self._chosen(context.models, rng)
        move = _move(context)
        asking = _Asking(self, context, model, expansion, _angle(rng))
        try:
            return await asking.draft(move)
        except TransientError as error:
            return asking.rejected(move, f"the model gave no answer: {error}")
        except TooLongError as error:
            return asking.rejected(move, str(error))
        except (RefusedError, MissingExchangeError) as error:
            raise UserError(str(error)) from error

    def prompts(self, context: Context) -> PromptBuilder:
        """Of the task that it was prepared for."""
        if self._builder is None:
            self._builder = self._prompts(context)
        return self._builder

    def _prompts(self, context: Context) -> PromptBuilder:
        if self.facts is None:
            raise RuntimeError("the operator was not prepared for a task")
        return PromptBuilder(
            templates=self._templates,
            task=context.task,
            facts=self.facts,
            device=context.device,
            hardware=context.facts,
            language="cpp" if context.device == "cpu" else "python",
            form=self.form,
        )

    def _chosen(self, models: Models, rng: random.Random) -> str:
        if self._chooser is None:
            self._chooser = Chooser(models.choice, models.weights)
            for node in self._told:
                self._tell_chooser(self._chooser, node)
            self._told.clear()
        return self._chooser.choose(rng)

    def _tell_chooser(self, chooser: Chooser, node: Node) -> None:
        promise = max((self._fitness.get(parent, 0.0) for parent in node.parents), default=0.0)
        if node.model:
            chooser.tell(node.model, node.fitness, promise, node.usage)


class _Asking:
    """One expansion carried out."""

    def __init__(
        self, operator: UniversalOperator, context: Context, model: str, expansion: Expansion, angle: str
    ) -> None:
        assert context.models is not None
        self._operator = operator
        self._context = context
        self._models = context.models
        self._model = model
        self._seed = expansion.seed
        self._angle = angle
        self._exchanges: list[Exchange] = []
        self._undiagnosed = False
        self._trials = 0

    async def draft(self, move: Move) -> Draft:
        context = self._context
        material = Material(
            move=move,
            parents=context.parents,
            history=context.history,
            best=max((p.node.fitness for p in (*context.parents, *context.history)), default=0.0),
            angle=self._angle,
        )
        if self._operator.refine and material.parents:
            material = replace(material, diagnosis=await self._diagnosed(material))
        return await (self._by_agent(material) if self._operator.agent.steps else self._at_once(material))

    async def _diagnosed(self, material: Material) -> str:
        """The model's own words; nothing, and the node's note says so, where it has none."""
        prompts = self._operator.prompts(self._context)
        messages = prompts.build(replace(material, move=Move.DIAGNOSE), self._operator.prompt_tokens)
        try:
            await self._asked(messages, len(self._exchanges), most=_DIAGNOSIS_TOKENS)
        except (TransientError, TooLongError):
            self._undiagnosed = True
            return ""
        try:
            return cleaned(self._exchanges[-1].completion.message.text)[:_DIAGNOSIS_LENGTH]
        except AnswerError:
            self._undiagnosed = True
            return ""

    async def _by_agent(self, material: Material) -> Draft:
        """In steps, with tools; what becomes the node is the best kernel that was measured, or the last that failed."""
        operator, context, settings = self._operator, self._context, self._operator.agent
        if context.judge is None:
            raise RuntimeError("an agent without a judge")
        prompts = operator.prompts(context)
        variables = {
            "steps": settings.steps,
            "judgements": settings.judgements,
            "protocol": settings.protocol.value,
            "parents": len(context.parents),
        }
        instructions = Message(role=Role.USER, text=prompts.templates.render(AGENT, variables))
        messages = prompts.build(material, operator.prompt_tokens - tokens_of_message(instructions))
        workbench = Workbench(
            context.parents[0].kernel.source if context.parents else "", context.judge, settings.judgements
        )

        async def ask(conversation: Sequence[Message], tools: Sequence[Tool]) -> Completion:
            await self._asked(conversation, len(self._exchanges), tools)
            return self._exchanges[-1].completion

        most = 2 * operator.prompt_tokens
        said = await work(settings, workbench, (*messages, instructions), ask, most)
        best, self._trials = workbench.best, len(workbench.judged)
        if best is None:
            return self.rejected(material.move, "the agent ended without a kernel that could be judged")
        return self._made(best.kernel, material.move, _note(said))

    async def _at_once(self, material: Material) -> Draft:
        """In one completion, and corrections."""
        operator, context, move = self._operator, self._context, material.move
        messages = await self._asked_first(material)
        before = len(self._exchanges)
        parent = folded(context.parents[0].kernel.source) if context.parents else None
        for again in range(operator.corrections + 1):
            if again:
                await self._asked(messages, before - 1 + again)
            completion = self._exchanges[-1].completion
            text = completion.message.text
            try:
                if completion.finish is Finish.REFUSED:
                    raise AnswerError(f"the model refused: {' '.join(text.split())[:300]}")
                source = unfolded(read_answer(text, parent, cut_off=completion.finish is Finish.LENGTH))
                kernel = Kernel(source=source, language=language_of(source))
                if kernel.id in context.known and again < operator.corrections:
                    raise AnswerError("this kernel was judged already: make another")
                return self._made(kernel, move, _note(text))
            except AnswerError as error:
                reason = str(error)
                said = Message(role=Role.ASSISTANT, text=text or "(nothing)")
                words = operator.prompts(context).templates.render(
                    CORRECTION, {"reason": reason, "form": operator.form}
                )
                messages = (*messages, said, Message(role=Role.USER, text=words))
        return self.rejected(move, reason)

    async def _asked_first(self, material: Material) -> tuple[Message, ...]:
        """Asks with as much as the model takes; returns what was asked."""
        operator, builder = self._operator, self._operator.prompts(self._context)
        budget = operator.prompt_tokens
        for _ in range(_SHRINKINGS):
            messages = builder.build(material, budget)
            try:
                await self._asked(messages, len(self._exchanges))
                return messages
            except TooLongError as error:
                fits = error.context - operator.answer_tokens - _MARGIN if error.context else 0
                used = sum(map(tokens_of_message, messages))
                budget = min(int(_SHRUNK * used), fits) if fits > 0 else int(_SHRUNK * used)
        messages = builder.build(material, budget)
        await self._asked(messages, len(self._exchanges))
        return messages

    async def _asked(
        self, messages: Sequence[Message], again: int, tools: Sequence[Tool] = (), most: int | None = None
    ) -> None:
        """`again`: requests for this expansion before it, so that each has a seed of its own; `most`: tokens of the answer."""
        sampling = Sampling(
            temperature=self._operator.temperature,
            most_tokens=min(most or self._operator.answer_tokens, self._operator.answer_tokens),
            seed=(self._seed + again) % _SEEDS,
        )
        request = Request(messages=tuple(messages), tools=tuple(tools), sampling=sampling)
        self._exchanges.append(await self._models.ask(self._model, request, self._context.purpose))

    def _made(self, kernel: Kernel, move: Move, note: str, rejected: Diagnosis | None = None) -> Draft:
        return Draft(
            kernel=kernel,
            operator=f"llm/{move.value}",
            note=f"{note} (not diagnosed)".strip() if self._undiagnosed else note,
            usage=sum((exchange.usage for exchange in self._exchanges), Usage()),
            model=self._model,
            exchanges=tuple(e.number for e in self._exchanges if e.number is not None),
            rejected=rejected,
            trials=self._trials,
        )

    def rejected(self, move: Move, reason: str) -> Draft:
        """Of what never became a kernel."""
        text = self._exchanges[-1].completion.message.text if self._exchanges else ""
        diagnosis = Diagnosis(stage="answer", summary=" ".join(reason.split())[:500] or "no answer", details=reason)
        kernel = Kernel(source=f"# {self._context.purpose}: no kernel\n{text}", language="python")
        return self._made(kernel, move, _note(text), diagnosis)


def _move(context: Context) -> Move:
    if not context.parents:
        return Move.DRAFT
    if len(context.parents) > 1:
        return Move.CROSSOVER
    return Move.IMPROVE if context.parents[0].node.fitness else Move.REPAIR


def _angle(rng: random.Random) -> str:
    return rng.choice([line for line in Path(SHIPPED, "angles.txt").read_text().splitlines() if line.strip()])


def _note(text: str) -> str:
    found = _NOTE.search(text)
    return " ".join(found[1].split())[:_NOTE_LENGTH] if found else ""
