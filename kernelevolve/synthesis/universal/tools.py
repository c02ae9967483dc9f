"""The tools of the agent loop. Only the evaluated kernels outlive it."""

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

Evaluate = Callable[[Kernel], Awaitable[Evaluation]]
DONE = "done"
_BEFORE_RUNNING = (Status.INVALID_SOURCE, Status.COMPILE_ERROR)
_DETAILS = 3000
"""The greatest number of characters of a diagnosis in a reply."""
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
    Tool(name="read", description="The file as it stands, with line numbers.", parameters=_NOTHING),
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
    Tool(
        name="test", description="Compile it and compare its results with those of the reference.", parameters=_NOTHING
    ),
    Tool(name="measure", description="Compile, test and time it.", parameters=_NOTHING),
    Tool(name=DONE, description="End. The fastest kernel that was measured counts.", parameters=_NOTHING),
)


class EvaluatedKernel(Record):
    """A kernel and its evaluation."""

    kernel: Kernel
    evaluation: Evaluation


class Workbench:
    """The file that an agent edits, and its evaluations.

    Each distinct text of the file that is compiled, tested or measured costs one evaluation, however often the tools are
    called on it.
    """

    def __init__(self, source: str, evaluate: Evaluate, evaluations: int) -> None:
        """Initialize the workbench.

        Args:
            source: The first text of the file, which may be empty.
            evaluate: Evaluates a kernel.
            evaluations: The greatest number of evaluations.
        """
        self.source = fold(source)
        self.evaluated: dict[str, EvaluatedKernel] = {}
        """The evaluated kernels by id, in the order of their evaluation."""
        self._evaluate_kernel = evaluate
        self._left = evaluations

    @property
    def best(self) -> EvaluatedKernel | None:
        """The evaluated kernel with the best fitness, the last one if several are equal; None before any evaluation."""
        latest_first = list(reversed(self.evaluated.values()))
        return max(latest_first, key=lambda evaluated: evaluated.evaluation.fitness) if latest_first else None

    async def carry_out(self, call: ToolCall) -> str:
        """Carry out a tool call and return the reply to the model. Mistakes of the model become replies, not exceptions."""
        try:
            arguments = json.loads(call.arguments or "{}")
            if not isinstance(arguments, dict):
                raise AnswerError("arguments must be an object")
            return await self._do(call.name, arguments)
        except json.JSONDecodeError as error:
            return f"the arguments are no valid JSON: {error}"
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
                return await self._evaluate(name)
        raise AnswerError(f"there is no tool {name}: there are {', '.join(tool.name for tool in TOOLS)}")

    def kernel(self) -> Kernel:
        """Return the kernel that the current file defines."""
        source = unfold(self.source)
        return Kernel(source=source, language=language_of(source))

    def _lint(self) -> str | None:
        kernel = self.kernel()
        failure = check_source(kernel.source)
        if failure is not None:
            return failure.summary
        return get_language(kernel.language).lint(kernel.source) or None

    async def _evaluate(self, name: str) -> str:
        problem = self._lint()
        if problem:
            return problem
        kernel = self.kernel()
        if kernel.id not in self.evaluated:
            if self._left == 0:
                return "nothing more can be compiled, tested or measured for this kernel: end with done"
            self._left -= 1
            self.evaluated[kernel.id] = EvaluatedKernel(kernel=kernel, evaluation=await self._evaluate_kernel(kernel))
        reply = _reply(name, self.evaluated[kernel.id].evaluation)
        return f"{reply}\n({self._left} more files can be evaluated)"


def _reply(name: str, evaluation: Evaluation) -> str:
    """Return the part of an evaluation that a tool reports."""
    diagnosis = evaluation.diagnosis
    if diagnosis is not None and (name != "compile" or evaluation.status in _BEFORE_RUNNING):
        details = diagnosis.details[:_DETAILS]
        return f"{evaluation.status.value}: {diagnosis.summary}" + (f"\n{details}" if details else "")
    if name == "compile":
        return "it compiles"
    if name == "test":
        return "it is correct"
    measured = evaluation.measurement
    assert measured is not None
    speedup = f"not measured: {measured.not_measured}"
    if measured.speedup is not None:
        ratio = measured.speedup
        speedup = f"{ratio.value:.3f}x over the reference ({ratio.low:.3f} to {ratio.high:.3f})"
    lines = [f"{speedup}, {measured.kernel_seconds * 1e6:.1f} us a call"]
    lines += [
        f"{name}: {one.speedup.value:.3f}x" for name, one in evaluation.variants.items() if one.speedup is not None
    ]
    return "\n".join(lines)


def calls_in(text: str) -> list[ToolCall]:
    """Parse the tool calls of the text protocol: `TOOL: name` on a line of its own, followed by the argument."""
    marks = list(_CALL.finditer(text))
    found = []
    for i, mark in enumerate(marks):
        body = text[mark.end() : marks[i + 1].start() if i + 1 < len(marks) else len(text)]
        name = mark[1]
        # Files and edits are parsed like answers, fenced or not.
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
        raise AnswerError(f"{name} must be a string")
    return value


def _lines(arguments: Mapping[str, Any], name: str) -> tuple[str, ...]:
    text = _text(arguments, name)
    return tuple(text.rstrip("\n").split("\n")) if text.strip() else ()
