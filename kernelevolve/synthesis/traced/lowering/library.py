"""Library calls: operations that vendor libraries implement, with the statements that may replace them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import sympy

from kernelevolve.synthesis.traced.expr import Load, Size
from kernelevolve.synthesis.traced.lowering.call import Call
from kernelevolve.synthesis.traced.program import LibraryCall, Operand, Role
from kernelevolve.synthesis.traced.virtual import Virtual

DTYPES = ("float32", "float64")
"""The dtypes of library calls. In other dtypes libraries round intermediate results, which the traced form does not."""


def with_library(
    call: Call,
    operation: str,
    operands: Sequence[Virtual],
    arguments: tuple[object, ...],
    work: Size,
    expand: Callable[..., Virtual],
) -> Virtual:
    """Add a library call, or its expansion if the operands or their dtypes are not supported.

    Args:
        call: The ATen call.
        operation: An operation of `LibraryCall`.
        operands: The tensors.
        arguments: The arguments of the operation.
        work: The approximate number of multiplications.
        expand: Adds the statements that compute the same from the operands.
    """
    b = call.builder
    if any(v.dtype != call.dtype for v in operands) or call.dtype not in DTYPES:
        return expand(*operands)
    kept: list[Virtual] = []
    named: list[Operand] = []
    for v in operands:
        found = _whole(call, v)
        if found is None:
            v = b.compute(v.dims, v.dtype, v.at, call.name)  # noqa: PLW2901 - the same tensor, stored
            found = _whole(call, v)
        if found is None:
            return expand(*operands)
        kept.append(v)
        named.append(found)
    start = len(b.statements)
    result = expand(*kept)
    expansion = tuple(b.statements[start:])
    del b.statements[start:]
    last = expansion[-1].buffer
    b.statements.append(LibraryCall(last, operation, tuple(named), arguments, expansion, work, call.name))
    return result


def _whole(call: Call, v: Virtual) -> Operand | None:
    """Return a tensor as an operand if it is a permutation of a whole buffer, otherwise None."""
    symbols = tuple(sympy.Symbol(f"p{i}", integer=True, nonnegative=True) for i in range(len(v.atoms)))
    probe = v.at(symbols)
    if not isinstance(probe, Load) or sorted(map(str, probe.index)) != sorted(map(str, symbols)):
        return None
    buffer = call.builder.buffers[probe.buffer]
    extents = dict(zip(probe.index, buffer.extents, strict=True))
    if buffer.role is Role.CONSTANT or any(
        sympy.expand(extents[s] - e) != 0 for s, e in zip(symbols, v.atoms, strict=True)
    ):
        return None
    groups, start = list[tuple[sympy.Symbol, ...]](), 0
    for atoms in v.dims:
        groups.append(symbols[start : start + len(atoms)])
        start += len(atoms)
    places = {s: i for i, s in enumerate(probe.index)}
    long = iter(sorted((d for d in range(len(groups)) if groups[d]), key=lambda d: places[groups[d][0]]))
    memory = [next(long) if groups[d] else d for d in range(len(groups))]
    if [s for d in memory for s in groups[d]] != list(probe.index):
        return None
    shape = v.shape
    return Operand(probe.buffer, tuple(shape[d] for d in memory), tuple(memory.index(d) for d in range(len(groups))))
