"""Traits: the numbers that distinguish schedules, such as the passes over memory and the depth of fusion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

from kernelevolve.synthesis.builtin.plan.schedule import FusedGroup
from kernelevolve.synthesis.builtin.plan.transform import extent_hint
from kernelevolve.synthesis.traced.numbers import ITEM_BYTES
from kernelevolve.synthesis.traced.program import Program, reads

_LARGE = 150
"""The number of statements from which a program is large."""
PASSES, TRAFFIC, PORTION, FUSION = "passes", "traffic_bytes", "portion_bytes", "fusion"


def is_large(program: Program) -> bool:
    """Return whether the C++ of a program takes seconds to write, and many to compile."""
    return len(program.statements) > _LARGE


def traits_of(
    program: Program, groups: Sequence[FusedGroup], external: Mapping[str, object], rows: Mapping[int, int]
) -> dict[str, float]:
    """Return the traits of a schedule for the main inputs.

    `passes` is the number of loop nests. `traffic_bytes` counts what the nests read and write in memory that lives longer than a block.
    `portion_bytes` is the share of one block in that, for the nest in which it is largest. `fusion` is the number of statements of the
    longest nest.

    `external` holds the buffers that live longer than a block, and `rows` the rows of a block by the number of its group.
    """
    traffic, portions = 0, [1.0]
    for number, group in enumerate(groups):
        touched = {name for s in group.statements for name in (*reads(s), s.buffer) if name in external}
        size = sum(_bytes(name, program) for name in touched)
        traffic += size
        extents = [max(1, extent_hint(extent, program.hints)) for extent in group.extents]
        blocks = prod(extents[:-1]) * -(-extents[-1] // rows.get(number, 1)) if extents else 1
        portions.append(size / blocks)
    return {
        PASSES: float(len(groups)),
        TRAFFIC: float(max(traffic, 1)),
        PORTION: max(portions),
        FUSION: float(max((len(group.statements) for group in groups), default=1)),
    }


def _bytes(name: str, program: Program) -> int:
    buffer = program.buffers[name]
    return prod(extent_hint(extent, program.hints) for extent in buffer.extents) * ITEM_BYTES[buffer.dtype]
