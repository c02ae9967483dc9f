"""Prompts within a budget of tokens: what they must say, and as much of the rest as fits, by its worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from kernelevolve.core.task import Task
from kernelevolve.llm.errors import TooLongError
from kernelevolve.llm.lengths import tokens_of, tokens_of_message
from kernelevolve.llm.messages import Message, Role
from kernelevolve.synthesis.base import Parent
from kernelevolve.synthesis.universal.analysis import analysed
from kernelevolve.synthesis.universal.history import remembered
from kernelevolve.synthesis.universal.task_facts import TaskFacts
from kernelevolve.synthesis.universal.templates import REQUEST, SYSTEM, Templates
from kernelevolve.synthesis.universal.views import DocumentView, parent_view

_DETAILS = (4000, 1000, 0)
"""The characters of a diagnosis that enter a prompt. The smaller limits apply if the prompt is too long."""
_FRAME = 12
"""The tokens around an item, for its heading and fence."""


class PromptKind(StrEnum):
    """The kinds of prompts."""

    DRAFT = "draft"
    REPAIR = "repair"
    IMPROVE = "improve"
    CROSSOVER = "crossover"
    DIAGNOSE = "diagnose"
    """Asks what bounds the parents and what to change, not for a kernel."""


@dataclass(frozen=True)
class Material:
    """The content that a prompt may hold besides the task and the target."""

    move: PromptKind
    parents: tuple[Parent, ...] = ()
    history: Sequence[Parent] = ()
    documents: tuple[DocumentView, ...] = ()
    best: float = 0.0
    """The speedup of the best known kernel; 0 if none is correct."""
    angle: str = ""
    """A hint for drafts, one sentence."""
    diagnosis: str = ""
    """What a model said about the parents; empty if it was not asked."""


@dataclass(frozen=True)
class _Item:
    """An optional part of a prompt."""

    worth: float
    """Items with a greater worth are included first."""
    kind: str
    value: Any
    tokens: int


@dataclass(frozen=True)
class PromptBuilder:
    """Builds prompts for one task and target. The first message is the same in all of them, so that prefix caches hit."""

    templates: Templates
    task: Task
    facts: TaskFacts
    device: str
    hardware: Mapping[str, str]
    language: str
    form: str
    head: Message = field(init=False)
    """The first message of every prompt."""

    def __post_init__(self) -> None:
        variables = {
            "task": self.task,
            "facts": self.facts,
            "device": self.device,
            "hardware": self.hardware,
            "language": self.language,
            "form": self.form,
        }
        text = self.templates.render(SYSTEM, variables)
        object.__setattr__(self, "head", Message(role=Role.SYSTEM, text=text))

    def build(self, material: Material, budget: int) -> tuple[Message, ...]:
        """Build the messages of a prompt.

        Args:
            material: The content.
            budget: The greatest length in tokens, as estimated by `llm/lengths.py`.

        Raises:
            TooLongError: The prompt is longer even without optional items and diagnosis details.
        """
        left = budget - tokens_of_message(self.head)
        for details in _DETAILS:
            request = self._request(material, details, ())
            if tokens_of_message(request) <= left:
                return self.head, self._filled(material, details, left)
        raise TooLongError(
            f"the prompt is longer than {budget} tokens without any history: "
            f"{tokens_of_message(self.head)} of them are the task, the hardware and the rules"
        )

    def _filled(self, material: Material, details: int, left: int) -> Message:
        """Return the request with as many items as fit, by their worth."""
        room = left - tokens_of_message(self._request(material, details, ()))
        chosen: list[_Item] = []
        for item in sorted(_items(material), key=lambda item: -item.worth):
            if item.tokens <= room:
                chosen.append(item)
                room -= item.tokens
        request = self._request(material, details, chosen)
        while chosen and tokens_of_message(request) > left:
            chosen.pop()
            request = self._request(material, details, chosen)
        return request

    def _request(self, material: Material, details: int, items: Sequence[_Item]) -> Message:
        def of(kind: str) -> list[Any]:
            return [item.value for item in items if item.kind == kind]

        parents = [parent_view(p, analysed(p.node, self.facts, self.hardware), details) for p in material.parents]
        variables = {
            "move": material.move.value,
            "parents": parents,
            "best": material.best,
            "tried": of("tried"),
            "failed": of("failed"),
            "examples": of("examples"),
            "documents": of("documents"),
            "angle": material.angle,
            "diagnosis": material.diagnosis,
            "form": self.form,
        }
        return Message(role=Role.USER, text=self.templates.render(REQUEST, variables))


def _items(material: Material) -> list[_Item]:
    """Return the optional items: failures are worth most, then correct kernels, documents and code."""
    search = remembered(material.history)
    found = [
        *(("failed", 400 - i, line, line) for i, line in enumerate(search.failed)),
        *(("tried", 300 - i, line, line) for i, line in enumerate(search.tried)),
        *(("documents", 200 - i, one, one.title + one.text) for i, one in enumerate(material.documents)),
        *(("examples", 100 - i, one, one.note + one.source) for i, one in enumerate(search.examples)),
    ]
    return [_Item(worth, kind, value, tokens_of(text) + _FRAME) for kind, worth, value, text in found]
