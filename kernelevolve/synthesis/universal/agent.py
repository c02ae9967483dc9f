"""A node as an agent of several steps: it edits, compiles, tests and measures, and the best kernel that it measured counts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum

from pydantic import Field

from kernelevolve.core.record import Record
from kernelevolve.llm.errors import TooLongError
from kernelevolve.llm.lengths import tokens_of_message
from kernelevolve.llm.messages import Completion, Finish, Message, Role, Tool, ToolCall
from kernelevolve.synthesis.answers.errors import AnswerError
from kernelevolve.synthesis.answers.reading import read_answer
from kernelevolve.synthesis.universal.tools import DONE, TOOLS, Workbench, calls_in

_LEFT_OUT = "(left out, to make room)"
_KEPT = 4
"""Of the last messages, that stay whole when there must be room."""

Ask = Callable[[Sequence[Message], Sequence[Tool]], Awaitable[Completion]]
"""(conversation, tools) -> what the model says."""


class AgentProtocol(StrEnum):
    """How tools are called."""

    NATIVE = "native"
    """As the endpoint has it."""
    TEXT = "text"
    """In lines of the answer, for endpoints that have no calls of tools."""


class AgentSettings(Record):
    """Of a node's inner loop."""

    steps: int = Field(ge=0, le=50)
    """Answers of the model; 0: a node is one completion, without tools."""
    judgements: int = Field(ge=1)
    """Kernels that it may have compiled, tested or measured."""
    protocol: AgentProtocol


async def work(
    settings: AgentSettings, workbench: Workbench, messages: Sequence[Message], ask: Ask, most_tokens: int
) -> str:
    """Steps until the model is done or has no more. Returns what it said last.

    `messages`: the prompt, which says how tools are called; `most_tokens`: of a conversation.
    """
    conversation = list(messages)
    fixed = len(conversation)
    tools = TOOLS if settings.protocol is AgentProtocol.NATIVE else ()
    said = ""
    for step in range(settings.steps):
        _make_room(conversation, fixed, most_tokens)
        completion = await _asked(ask, conversation, fixed, tools)
        said = completion.message.text or said
        calls = completion.message.calls or tuple(calls_in(completion.message.text))
        ended = completion.finish is Finish.REFUSED or any(call.name == DONE for call in calls)
        if not calls:
            calls, ended = _from_plain(completion, workbench), True
        told = [(call, await workbench.carry_out(call)) for call in calls if call.name != DONE]
        if ended:
            break
        left = settings.steps - step - 1
        conversation += _turn(
            completion.message, told, f"{left} more answers of yours" if left else "", native=bool(tools)
        )
    if not workbench.judged and workbench.source.strip():
        await workbench.carry_out(ToolCall(id="end", name="measure", arguments="{}"))
    return said


def _from_plain(completion: Completion, workbench: Workbench) -> tuple[ToolCall, ...]:
    """An answer that calls no tool may still hold a kernel, which is measured; then the model is done."""
    cut_off = completion.finish is Finish.LENGTH
    try:
        workbench.source = read_answer(completion.message.text, workbench.source or None, cut_off=cut_off)
    except AnswerError:
        return ()
    return (ToolCall(id="end", name="measure", arguments="{}"),)


def _turn(said: Message, told: Sequence[tuple[ToolCall, str]], left: str, *, native: bool) -> list[Message]:
    """What was said and what came of it, as the protocol has it."""
    if native and said.calls:
        answers = [Message(role=Role.TOOL, text=text, answers=call.id) for call, text in told]
        if left:
            last = answers[-1]
            answers[-1] = last.model_copy(update={"text": f"{last.text}\n({left})"})
        return [said, *answers]
    text = "\n\n".join(text for _, text in told)
    return [
        Message(role=Role.ASSISTANT, text=said.text),
        Message(role=Role.USER, text=f"{text}\n({left})" if left else text),
    ]


def _make_room(conversation: list[Message], fixed: int, most: int) -> None:
    """Cut what tools said and what was written long ago, oldest first, until the conversation is no longer than that."""
    total = sum(map(tokens_of_message, conversation))
    for i in range(fixed, len(conversation) - _KEPT):
        if total <= most:
            return
        before = conversation[i]
        calls = tuple(call.model_copy(update={"arguments": "{}"}) for call in before.calls)
        conversation[i] = before.model_copy(
            update={"text": _LEFT_OUT if before.text else "", "calls": calls, "sealed": ()}
        )
        total += tokens_of_message(conversation[i]) - tokens_of_message(before)


async def _asked(ask: Ask, conversation: list[Message], fixed: int, tools: Sequence[Tool]) -> Completion:
    """Once more with all that can be left out left out, where the model finds it too long. Raises TooLongError where that does not help."""
    try:
        return await ask(conversation, tools)
    except TooLongError:
        if len(conversation) == fixed:
            raise
        _make_room(conversation, fixed, 0)
        return await ask(conversation, tools)
