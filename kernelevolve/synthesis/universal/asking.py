"""The requests to a model for one expansion, and the draft that follows from the answers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from devices.languages import fold, language_of, unfold
from kernelevolve.core.evaluation import Diagnosis
from kernelevolve.core.graph import Draft
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.usage import Usage
from kernelevolve.llm.errors import TooLongError, TransientError
from kernelevolve.llm.exchange import Exchange
from kernelevolve.llm.lengths import tokens_of_message
from kernelevolve.llm.messages import Completion, Finish, Message, Request, Role, Sampling, Tool
from kernelevolve.synthesis.answers.cleaning import cleaned
from kernelevolve.synthesis.answers.errors import AnswerError
from kernelevolve.synthesis.answers.reading import read_answer
from kernelevolve.synthesis.base import Context
from kernelevolve.synthesis.universal.agent import AgentSettings, work
from kernelevolve.synthesis.universal.prompt import Material, PromptBuilder, PromptKind
from kernelevolve.synthesis.universal.templates import AGENT, CORRECTION
from kernelevolve.synthesis.universal.tools import Workbench

_SHRINKINGS = 4
"""The greatest number of times that a prompt is shortened because an endpoint finds it too long."""
_SHRUNK = 0.6
"""The factor by which a prompt is shortened if the endpoint does not say what it accepts."""
_MARGIN = 64
"""The tokens that chat templates may add to a prompt."""
_DIAGNOSIS_TOKENS = 4000
"""The greatest number of tokens of a diagnosis, reasoning included."""
_DIAGNOSIS_LENGTH = 2000
"""The greatest number of characters of a diagnosis that enter the next prompt."""
_NOTE = re.compile(r"^\W*NOTE\W*:\W*(.+?)\W*$", re.MULTILINE | re.IGNORECASE)
_NOTE_LENGTH = 200
_SEEDS = 1 << 31
"""The number of seeds, since endpoints accept 31 bits."""


@dataclass
class AskingSettings:
    """The settings of the operator that requests depend on."""

    prompt_tokens: int
    """The greatest number of tokens of a prompt."""
    answer_tokens: int
    """The greatest number of tokens of an answer."""
    temperature: float | None
    """The sampling temperature; None leaves it to the endpoint."""
    form: Literal["whole", "edits", "either"]
    """The form of answers: whole files, edits of the parent, or either."""
    corrections: int
    """The greatest number of times that an unusable answer goes back to the model."""
    refine: bool
    """Whether a separate request first asks the model what bounds the parents and what to change."""
    agent: AgentSettings
    """The settings of the agent loop, or a mapping of them."""


class Asking:
    """Asks a model for the kernel of one expansion."""

    def __init__(
        self, settings: AskingSettings, prompts: PromptBuilder, context: Context, model: str, seed: int, angle: str
    ) -> None:
        """Initialize the requests.

        Args:
            settings: The settings of the operator.
            prompts: Builds the prompts.
            context: The parents, the history and the models.
            model: The name of the model to ask.
            seed: The seed of the first request.
            angle: A hint for drafts, one sentence.
        """
        assert context.models is not None
        self._settings = settings
        self._prompts = prompts
        self._context = context
        self._models = context.models
        self._model = model
        self._seed = seed
        self._angle = angle
        self._exchanges: list[Exchange] = []
        self._undiagnosed = False
        self._extra_evaluations = 0

    async def draft(self, move: PromptKind) -> Draft:
        """Ask for a kernel and return the draft, which is a rejected one if no answer can be used."""
        context = self._context
        material = Material(
            move=move,
            parents=context.parents,
            history=context.history,
            best=max((p.node.fitness for p in (*context.parents, *context.history)), default=0.0),
            angle=self._angle,
        )
        if self._settings.refine and material.parents:
            material = replace(material, diagnosis=await self._diagnose(material))
        return await (
            self._draft_by_agent(material) if self._settings.agent.steps else self._draft_by_completion(material)
        )

    async def _diagnose(self, material: Material) -> str:
        """Ask the model what bounds the parents. Returns an empty text if there is no answer; the note then says so."""
        messages = self._prompts.build(replace(material, move=PromptKind.DIAGNOSE), self._settings.prompt_tokens)
        try:
            await self._ask(messages, len(self._exchanges), most=_DIAGNOSIS_TOKENS)
        except (TransientError, TooLongError):
            self._undiagnosed = True
            return ""
        try:
            return cleaned(self._exchanges[-1].completion.message.text)[:_DIAGNOSIS_LENGTH]
        except AnswerError:
            self._undiagnosed = True
            return ""

    async def _draft_by_agent(self, material: Material) -> Draft:
        """Run the agent loop. The draft is the best kernel that was evaluated, or the last one if all failed."""
        context, settings = self._context, self._settings.agent
        if context.evaluate is None:
            raise RuntimeError("the agent needs `Context.judge` to evaluate kernels")
        prompts = self._prompts
        variables = {
            "steps": settings.steps,
            "evaluations": settings.evaluations,
            "protocol": settings.protocol.value,
            "parents": len(context.parents),
        }
        instructions = Message(role=Role.USER, text=prompts.templates.render(AGENT, variables))
        messages = prompts.build(material, self._settings.prompt_tokens - tokens_of_message(instructions))
        workbench = Workbench(
            context.parents[0].kernel.source if context.parents else "", context.evaluate, settings.evaluations
        )

        async def ask(conversation: Sequence[Message], tools: Sequence[Tool]) -> Completion:
            await self._ask(conversation, len(self._exchanges), tools)
            return self._exchanges[-1].completion

        most = 2 * self._settings.prompt_tokens
        said = await work(settings, workbench, (*messages, instructions), ask, most)
        best, self._extra_evaluations = workbench.best, len(workbench.evaluated)
        if best is None:
            return self.rejected(material.move, "the agent ended without a kernel that could be evaluated")
        return self._make_draft(best.kernel, material.move, _note(said))

    async def _draft_by_completion(self, material: Material) -> Draft:
        """Ask for one completion, and for corrections while the answer cannot be used."""
        settings, context, move = self._settings, self._context, material.move
        messages = await self._ask_first(material)
        before = len(self._exchanges)
        parent = fold(context.parents[0].kernel.source) if context.parents else None
        for again in range(settings.corrections + 1):
            if again:
                await self._ask(messages, before - 1 + again)
            completion = self._exchanges[-1].completion
            text = completion.message.text
            try:
                if completion.finish is Finish.REFUSED:
                    raise AnswerError(f"the model refused: {' '.join(text.split())[:300]}")
                source = unfold(read_answer(text, parent, cut_off=completion.finish is Finish.LENGTH))
                kernel = Kernel(source=source, language=language_of(source))
                if kernel.id in context.known_kernels and again < settings.corrections:
                    raise AnswerError("this kernel was evaluated already: make another")
                return self._make_draft(kernel, move, _note(text))
            except AnswerError as error:
                reason = str(error)
                said = Message(role=Role.ASSISTANT, text=text or "(nothing)")
                words = self._prompts.templates.render(CORRECTION, {"reason": reason, "form": settings.form})
                messages = (*messages, said, Message(role=Role.USER, text=words))
        return self.rejected(move, reason)

    async def _ask_first(self, material: Material) -> tuple[Message, ...]:
        """Ask with a prompt as long as the model accepts, and return the prompt."""
        settings = self._settings
        budget = settings.prompt_tokens
        for _ in range(_SHRINKINGS):
            messages = self._prompts.build(material, budget)
            try:
                await self._ask(messages, len(self._exchanges))
                return messages
            except TooLongError as error:
                fits = error.context - settings.answer_tokens - _MARGIN if error.context else 0
                used = sum(map(tokens_of_message, messages))
                budget = min(int(_SHRUNK * used), fits) if fits > 0 else int(_SHRUNK * used)
        messages = self._prompts.build(material, budget)
        await self._ask(messages, len(self._exchanges))
        return messages

    async def _ask(
        self, messages: Sequence[Message], again: int, tools: Sequence[Tool] = (), most: int | None = None
    ) -> None:
        """Send a request and append the exchange.

        Args:
            messages: The conversation.
            again: The number of earlier requests for this expansion, which gives each request a seed of its own.
            tools: The tools that the model may call.
            most: A limit on the tokens of the answer, below that of the settings.
        """
        sampling = Sampling(
            temperature=self._settings.temperature,
            max_tokens=min(most or self._settings.answer_tokens, self._settings.answer_tokens),
            seed=(self._seed + again) % _SEEDS,
        )
        request = Request(messages=tuple(messages), tools=tuple(tools), sampling=sampling)
        self._exchanges.append(await self._models.ask(self._model, request, self._context.node_id))

    def _make_draft(self, kernel: Kernel, move: PromptKind, note: str, rejected: Diagnosis | None = None) -> Draft:
        return Draft(
            kernel=kernel,
            operator=f"llm/{move.value}",
            note=f"{note} (not diagnosed)".strip() if self._undiagnosed else note,
            usage=sum((exchange.usage for exchange in self._exchanges), Usage()),
            model=self._model,
            exchanges=tuple(e.number for e in self._exchanges if e.number is not None),
            rejected=rejected,
            extra_evaluations=self._extra_evaluations,
        )

    def rejected(self, move: PromptKind, reason: str) -> Draft:
        """Return the draft of an expansion without a usable kernel, with the reason as its diagnosis."""
        text = self._exchanges[-1].completion.message.text if self._exchanges else ""
        diagnosis = Diagnosis(stage="answer", summary=" ".join(reason.split())[:500] or "no answer", details=reason)
        kernel = Kernel(source=f"# {self._context.node_id}: no kernel\n{text}", language="python")
        return self._make_draft(kernel, move, _note(text), diagnosis)


def _note(text: str) -> str:
    found = _NOTE.search(text)
    return " ".join(found[1].split())[:_NOTE_LENGTH] if found else ""
