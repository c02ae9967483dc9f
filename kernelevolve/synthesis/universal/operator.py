"""The operator that asks language models for kernels, with one prompt that adapts to the expansion."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

from devices.languages import LANGUAGES
from kernelevolve.core.errors import UserError
from kernelevolve.core.graph import Draft, Expansion, Node
from kernelevolve.core.target import Target
from kernelevolve.core.task import Task
from kernelevolve.llm.base import Models
from kernelevolve.llm.choosing import Chooser
from kernelevolve.llm.errors import MissingExchangeError, RefusedError, TooLongError, TransientError
from kernelevolve.synthesis.base import Context, Operator
from kernelevolve.synthesis.universal.agent import AgentProtocol, AgentSettings
from kernelevolve.synthesis.universal.asking import Asking, AskingSettings
from kernelevolve.synthesis.universal.prompt import Material, PromptBuilder, PromptKind
from kernelevolve.synthesis.universal.task_facts import TaskFacts, examine
from kernelevolve.synthesis.universal.templates import SHIPPED, Templates

_LIMIT = re.compile(r"max_(completion_|output_)?tokens", re.IGNORECASE)


@dataclass
class UniversalOperator(AskingSettings, Operator):
    """Asks a language model for a draft, a repair, an improvement or a crossover.

    An answer that cannot be used goes back to the model with the reason, up to `corrections` times. Then the draft is
    a rejected one.
    """

    needs_models: ClassVar[bool] = True

    templates: str | None
    """A folder with templates that replace shipped ones; None uses the shipped ones alone."""
    facts: TaskFacts | None = None
    """The facts about the task; None until `prepare`."""
    _templates: Templates = field(init=False, repr=False)
    _builder: PromptBuilder | None = field(default=None, init=False, repr=False)
    _chooser: Chooser | None = field(default=None, init=False, repr=False)
    _waiting: list[Node] = field(default_factory=list, init=False, repr=False)
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

    def prepare(self, task: Task) -> UniversalOperator:
        """Examine the task, and check templates and limits by building a prompt.

        Raises:
            UserError: The task fails, or a template is wrong.
        """
        prepared = replace(self, facts=examine(task))
        anywhere = Target(device="any", vendor="", arch="", languages=(LANGUAGES[0].name,))
        # Building a prompt here reports a wrong template or a low limit before the run starts.
        prepared._prompts(Context.bare(task, anywhere)).build(Material(PromptKind.DRAFT), self.prompt_tokens)
        return prepared

    def tell(self, node: Node) -> None:
        """Update the choice of models by the gain of the node."""
        self._fitness[node.id] = node.fitness
        if self._chooser is not None:
            self._tell_chooser(self._chooser, node)
        else:
            self._waiting.append(node)

    async def propose(self, expansion: Expansion, context: Context) -> Draft:
        """Ask a model for a kernel. The draft is a rejected one if no answer can be used.

        Raises:
            UserError: The endpoint refuses the request, or a recording lacks the exchange.
        """
        if context.models is None:
            raise RuntimeError("the universal operator needs `Context.models`")
        rng = random.Random(expansion.seed)
        model = self._chosen(context.models, rng)
        move = _move(context)
        asking = Asking(self, self.prompts(context), context, model, expansion.seed, _angle(rng))
        try:
            return await asking.draft(move)
        except TransientError as error:
            return asking.rejected(move, f"the model gave no answer: {error}")
        except TooLongError as error:
            return asking.rejected(move, str(error))
        except RefusedError as error:
            raise UserError(f"{error}{self._mend(str(error))}") from error
        except MissingExchangeError as error:
            raise UserError(str(error)) from error

    def _mend(self, refusal: str) -> str:
        """Return a hint on the setting that an endpoint may have refused."""
        if _LIMIT.search(refusal):
            return f"; operator.answer_tokens={self.answer_tokens} is the limit on an answer"
        if self.agent.steps and self.agent.protocol is AgentProtocol.NATIVE and "tool" in refusal.lower():
            return "; operator.agent.protocol=text works without tools of the endpoint"
        return ""

    def prompts(self, context: Context) -> PromptBuilder:
        """Return the prompt builder of the task, which is made once."""
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
            device=context.target.device,
            hardware=context.target.facts,
            language=context.target.languages[0],
            form=self.form,
        )

    def _chosen(self, models: Models, rng: random.Random) -> str:
        if self._chooser is None:
            self._chooser = Chooser(models.choice, models.weights)
            for node in self._waiting:
                self._tell_chooser(self._chooser, node)
            self._waiting.clear()
        return self._chooser.choose(rng)

    def _tell_chooser(self, chooser: Chooser, node: Node) -> None:
        promise = max((self._fitness.get(parent, 0.0) for parent in node.parents), default=0.0)
        if node.model:
            chooser.tell(node.model, node.fitness, promise, node.usage)


def _move(context: Context) -> PromptKind:
    if not context.parents:
        return PromptKind.DRAFT
    if len(context.parents) > 1:
        return PromptKind.CROSSOVER
    return PromptKind.IMPROVE if context.parents[0].node.fitness else PromptKind.REPAIR


def _angle(rng: random.Random) -> str:
    return rng.choice([line for line in Path(SHIPPED, "angles.txt").read_text().splitlines() if line.strip()])
