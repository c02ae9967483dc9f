"""What an agent may do to its kernel. Nothing of it is kept but the kernels that were judged."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from devices.languages import fold, get_language, language_of, unfold
from evaluators.service.source import check_source
from kernelevolve.core.evaluation import Evaluation, Status
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.record import Record
from kernelevolve.llm.messages import Tool, ToolCall
from kernelevolve.synthesis.answers.errors import AnswerError
from kernelevolve.synthesis.answers.lines import Edit, applied
from kernelevolve.synthesis.answers.reading import read_answer

Judge = Callable[[Kernel], Awaitable[Evaluation]]
DONE = "done"
_BEFORE_RUNNING = (Status.INVALID_SOURCE, Status.COMPILE_ERROR)
_DETAILS = 3000
"""Characters of a diagnosis."""
_CALL = re.compile(r"^TOOL:[ \t]*(\w+)[ \t]*$", re.MULTILINE)
_NOTHING: Mapping[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}


def _object(**properties: str) -> Mapping[str, Any]:
    return {
        "type": "object",
        "properties": {name: {"type": "string", "description": text} for name, text in properties.items()},
        "required": list(properties),
        "additionalProperties": False,
    }


TOOLS = (
    Tool(name="read", description="The file as it stands, with numbers of lines.", parameters=_NOTHING),
    Tool(
        name="write",
        description="Replace the whole file.",
        parameters=_object(source="the Python file"),
    ),
    Tool(
        name="replace",
        description="Replace lines of the file, which must stand there exactly so, once.",
        parameters=_object(search="the lines", replace="the lines in their place"),
    ),
    Tool(name="lint", description="Whether the file can be a kernel. Costs nothing.", parameters=_NOTHING),
    Tool(name="compile", description="Compile the file.", parameters=_NOTHING),
    Tool(name="test", description="Compile it and hold its results against the reference's.", parameters=_NOTHING),
    Tool(name="measure", description="Compile, test and time it.", parameters=_NOTHING),
    Tool(name=DONE, description="End. The fastest kernel that was measured counts.", parameters=_NOTHING),
)


class Judged(Record):
    """A kernel that the agent had judged."""

    kernel: Kernel
    evaluation: Evaluation


class Workbench:
    """One file, and a judge that may be asked so many times. Compiling, testing and measuring one text costs one of them."""

    def __init__(self, source: str, judge: Judge, judgements: int) -> None:
        """`source`: to begin with, may be empty."""
        self.source = fold(source)
        self.judged: dict[str, Judged] = {}
        self._judge = judge
        self._left = judgements

    @property
    def best(self) -> Judged | None:
        """The fittest that was judged; among failures the last."""
        found = list(self.judged.values())
        return max(reversed(found), key=lambda one: one.evaluation.fitness) if found else None

    async def carry_out(self, call: ToolCall) -> str:
        """What the model is told of it. Never raises for what the model did."""
        try:
            arguments = json.loads(call.arguments or "{}")
            if not isinstance(arguments, dict):
                raise AnswerError("arguments must be an object")
            return await self._do(call.name, arguments)
        except json.JSONDecodeError as error:
            return f"the arguments are no JSON: {error}"
        except AnswerError as error:
            return str(error)

    async def _do(self, name: str, arguments: Mapping[str, Any]) -> str:
        match name:
            case "read":
                lines = self.source.rstrip("\n").splitlines()
                return "\n".join(f"{number:4} {line}" for number, line in enumerate(lines, 1)) or "the file is empty"
            case "write":
                self.source = fold(_text(arguments, "source"))
                return f"written, {self.source.count(chr(10)) + 1} lines"
            case "replace":
                edit = Edit(_lines(arguments, "search"), _lines(arguments, "replace"))
                self.source = applied([edit], self.source)
                return "replaced"
            case "answer":
                self.source = fold(read_answer(_text(arguments, "text"), self.source or None))
                return "written"
            case "lint":
                return self._lint() or "no objections"
            case "compile" | "test" | "measure":
                return await self._verdict(name)
        raise AnswerError(f"there is no tool {name}: there are {', '.join(tool.name for tool in TOOLS)}")

    def kernel(self) -> Kernel:
        """The file as it stands."""
        source = unfold(self.source)
        return Kernel(source=source, language=language_of(source))

    def _lint(self) -> str | None:
        kernel = self.kernel()
        failure = check_source(kernel.source)
        if failure is not None:
            return failure.summary
        return get_language(kernel.language).lint(kernel.source) or None

    async def _verdict(self, name: str) -> str:
        wrong = self._lint()
        if wrong:
            return wrong
        kernel = self.kernel()
        if kernel.id not in self.judged:
            if self._left == 0:
                return "nothing more can be compiled, tested or measured for this kernel: end with done"
            self._left -= 1
            self.judged[kernel.id] = Judged(kernel=kernel, evaluation=await self._judge(kernel))
        told = _told(name, self.judged[kernel.id].evaluation)
        return f"{told}\n({self._left} more files can be judged)"


def _told(name: str, verdict: Evaluation) -> str:
    """As much of a verdict as the tool is for."""
    diagnosis = verdict.diagnosis
    if diagnosis is not None and (name != "compile" or verdict.status in _BEFORE_RUNNING):
        details = diagnosis.details[:_DETAILS]
        return f"{verdict.status.value}: {diagnosis.summary}" + (f"\n{details}" if details else "")
    if name == "compile":
        return "it compiles"
    if name == "test":
        return "it is correct"
    measured = verdict.measurement
    assert measured is not None
    told = f"not measured: {measured.not_measured}"
    if measured.speedup is not None:
        ratio = measured.speedup
        told = f"{ratio.value:.3f}x over the reference ({ratio.low:.3f} to {ratio.high:.3f})"
    lines = [f"{told}, {measured.kernel_seconds * 1e6:.1f} us a call"]
    lines += [f"{name}: {one.speedup.value:.3f}x" for name, one in verdict.variants.items() if one.speedup is not None]
    return "\n".join(lines)


def calls_in(text: str) -> list[ToolCall]:
    """Of the text protocol: `TOOL: name` on a line of its own, and what belongs to it behind that."""
    marks = list(_CALL.finditer(text))
    found = []
    for i, mark in enumerate(marks):
        body = text[mark.end() : marks[i + 1].start() if i + 1 < len(marks) else len(text)]
        name = mark[1]
        # Files and edits are read as answers are, fenced or not.
        arguments = {"text": body} if name in ("write", "replace") else {}
        found.append(
            ToolCall(
                id=f"call_{i}",
                name="answer" if arguments else name,
                arguments=json.dumps(arguments),
            )
        )
    return found


def _text(arguments: Mapping[str, Any], name: str) -> str:
    value = arguments.get(name)
    if not isinstance(value, str):
        raise AnswerError(f"{name} must be a text")
    return value


def _lines(arguments: Mapping[str, Any], name: str) -> tuple[str, ...]:
    text = _text(arguments, name)
    return tuple(text.rstrip("\n").split("\n")) if text.strip() else ()
