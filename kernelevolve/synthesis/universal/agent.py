"""The agent loop: a model edits, compiles, tests and measures kernels in steps; the best becomes the node."""

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
"""The number of last messages that are never shortened."""

Ask = Callable[[Sequence[Message], Sequence[Tool]], Awaitable[Completion]]
"""A function that sends a conversation and the tools to the model and returns its completion."""


class AgentProtocol(StrEnum):
    """How the model calls tools."""

    NATIVE = "native"
    """The tool calls of the endpoint."""
    TEXT = "text"
    """Lines of the answer, for endpoints without tool calls."""


class AgentSettings(Record):
    """The settings of the agent loop."""

    steps: int = Field(ge=0, le=50)
    """The greatest number of answers of the model for a node; 0 asks for one completion without tools."""
    evaluations: int = Field(ge=1)
    """The greatest number of kernels that are compiled, tested or measured for a node."""
    protocol: AgentProtocol


async def work(
    settings: AgentSettings, workbench: Workbench, messages: Sequence[Message], ask: Ask, max_tokens: int
) -> str:
    """Run the agent loop until the model is done or its steps are used up. The kernels are left in `workbench`.

    Args:
        settings: The limits of the loop.
        workbench: The file that the model edits and the kernels evaluated so far.
        messages: The prompt, which says how tools are called.
        ask: Sends a conversation to the model.
        max_tokens: The greatest length of a conversation in tokens.

    Returns:
        The last text of the model.
    """
    conversation = list(messages)
    fixed = len(conversation)
    tools = TOOLS if settings.protocol is AgentProtocol.NATIVE else ()
    said = ""
    for step in range(settings.steps):
        _make_room(conversation, fixed, max_tokens)
        completion = await _ask_shortening(ask, conversation, fixed, tools)
        said = completion.message.text or said
        calls = completion.message.calls or tuple(calls_in(completion.message.text))
        ended = completion.finish is Finish.REFUSED or any(call.name == DONE for call in calls)
        if not calls:
            calls, ended = _call_for_kernel(completion, workbench), True
        replies = [(call, await workbench.carry_out(call)) for call in calls if call.name != DONE]
        if ended:
            break
        left = settings.steps - step - 1
        conversation += _step_messages(
            completion.message, replies, f"{left} more answers of yours" if left else "", native=bool(tools)
        )
    if not workbench.evaluated and workbench.source.strip():
        await workbench.carry_out(ToolCall(id="end", name="measure", arguments="{}"))
    return said


def _call_for_kernel(completion: Completion, workbench: Workbench) -> tuple[ToolCall, ...]:
    """Read a kernel from an answer without tool calls, and return the call that measures it, or none."""
    cut_off = completion.finish is Finish.LENGTH
    try:
        workbench.source = read_answer(completion.message.text, workbench.source or None, cut_off=cut_off)
    except AnswerError:
        return ()
    return (ToolCall(id="end", name="measure", arguments="{}"),)


def _step_messages(said: Message, replies: Sequence[tuple[ToolCall, str]], left: str, *, native: bool) -> list[Message]:
    """Return the messages of one step, in the form of the protocol: the answer and the replies of the tools."""
    if native and said.calls:
        answers = [Message(role=Role.TOOL, text=text, answers=call.id) for call, text in replies]
        if left:
            last = answers[-1]
            answers[-1] = last.model_copy(update={"text": f"{last.text}\n({left})"})
        return [said, *answers]
    text = "\n\n".join(text for _, text in replies)
    return [
        Message(role=Role.ASSISTANT, text=said.text),
        Message(role=Role.USER, text=f"{text}\n({left})" if left else text),
    ]


def _make_room(conversation: list[Message], fixed: int, most: int) -> None:
    """Drop texts and arguments of old messages, the oldest first, until the conversation has at most so many tokens."""
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


async def _ask_shortening(ask: Ask, conversation: list[Message], fixed: int, tools: Sequence[Tool]) -> Completion:
    """Ask the model. If it finds the conversation too long, shorten it as far as possible and ask once more.

    Raises:
        TooLongError: The shortened conversation is still too long.
    """
    try:
        return await ask(conversation, tools)
    except TooLongError:
        if len(conversation) == fixed:
            raise
        _make_room(conversation, fixed, 0)
        return await ask(conversation, tools)
