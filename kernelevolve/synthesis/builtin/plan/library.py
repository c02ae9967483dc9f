"""The choice of the operations that PyTorch's libraries compute, and the text of their calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from kernelevolve.synthesis.builtin.knobs import Choices
from kernelevolve.synthesis.builtin.plan.transform import extent_hint
from kernelevolve.synthesis.traced.expr import Size
from kernelevolve.synthesis.traced.program import LibraryCall, Operand, Program, Role, Statement, reads

_PRODUCT = 1 << 30
_CONVOLUTION = 1 << 19
_SIMPLE_CONVOLUTION = 1 << 30
"""The number of multiplications from which a library gains more than fusing the operation with its neighbours."""


def prefers_library(call: LibraryCall, hints: Mapping[str, int]) -> bool:
    """Return whether a library computes the call by default.

    Convolutions along one dimension, and depthwise ones, fuse well up to larger sizes than others.
    """
    least = _PRODUCT
    if call.operation == "convolution":
        weight, transposed = call.operands[1].shape, call.arguments[3]
        simple = len(weight) == 3 or (weight[1] == 1 and not transposed)
        least = _SIMPLE_CONVOLUTION if simple else _CONVOLUTION
    return extent_hint(call.work, dict(hints)) >= least


def with_libraries(program: Program, choices: Choices, allowed: bool) -> Program:
    """Keep or expand each library call, by its knob. All are expanded unless PyTorch's own compute is `allowed`."""
    statements: list[Statement] = []
    for s in program.statements:
        if not isinstance(s, LibraryCall):
            statements.append(s)
        elif allowed and choices.flag(f"library.{s.buffer}", prefers_library(s, program.hints)):
            statements.append(replace(s, expansion=()))
        else:
            statements.extend(s.expansion)
    used = {n for s in statements for n in (*reads(s), s.buffer)}
    buffers = {n: b for n, b in program.buffers.items() if n in used or b.role is Role.INPUT}
    return replace(program, statements=tuple(statements), buffers=buffers)


def call_text(call: LibraryCall, program: Program, shape_text: Callable[[tuple[Size, ...]], str]) -> str:
    """Return the call as Python text. Its tensors have the names of the buffers."""
    text = f"{_called(call, [_operand(o, program, shape_text) for o in call.operands])}.contiguous()"
    # A product of batches is one of three dimensions, whatever the result's are.
    shape = next((output.shape for output in program.outputs if output.buffer == call.buffer), None)
    return text if shape is None else f"{text}.view({shape_text(shape)})"


def _called(call: LibraryCall, operands: Sequence[str]) -> str:
    match call.operation:
        case "convolution":
            bias = operands[2] if len(operands) > 2 else "None"
            rest = ", ".join(repr(a) for a in call.arguments)
            return f"torch.convolution({operands[0]}, {operands[1]}, {bias}, {rest})"
        case "matmul":
            return f"torch.matmul({operands[0]}, {operands[1]})"
        case "addmm":
            beta, alpha = call.arguments
            return f"torch.addmm({', '.join(operands)}, beta={beta!r}, alpha={alpha!r})"
        case name:
            raise ValueError(f"no library has the operation {name}")


def _operand(o: Operand, program: Program, shape_text: Callable[[tuple[Size, ...]], str]) -> str:
    text = o.buffer
    buffer = program.buffers[o.buffer]
    # What a library has made keeps the shape of its own result, which other dimensions may have been joined for.
    if buffer.role not in (Role.INPUT, Role.PARAMETER) or buffer.extents != o.shape:
        text += f".view({shape_text(o.shape)})"
    return text if o.order == tuple(range(len(o.order))) else f"{text}.permute({o.order})"
