"""The layout of inputs in the memory that a runner process shares with the evaluator.

The memory begins with a table of pointers, in which the runner stores the addresses of the outputs of a timed block. Slots follow, each
with room for the inputs of one call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evaluators.runtime.tensors import span_of
from kernelevolve.core.record import Record
from kernelevolve.tasks.structure import Structure
from kernelevolve.tasks.tensor_kinds import DTYPES

TABLE_BYTES = 1 << 16
"""The bytes of the table of pointers."""
ALIGNMENT = 64
"""The alignment of inputs in bytes."""
_STAGGER = 192
"""The bytes between inputs of a call. They make the low bits of addresses differ: equal ones make loads wait for unrelated stores."""


class Layout(Record):
    """The placement of the inputs of a call in a slot, and the number of slots."""

    inputs: tuple[Mapping[str, Any], ...]
    """A description of each leaf: `dtype`, `shape`, `stride` and `offset` (in bytes) for a tensor, `value` for anything else."""
    structure: Structure | None = None
    """The nesting of the leaves in the list of arguments, or None if each leaf is an argument."""
    slot_bytes: int
    """The bytes of one slot."""
    slots: int
    """The number of slots."""

    @property
    def total_bytes(self) -> int:
        """The bytes of the table and all slots."""
        return self.part(self.slots)[1]

    def part(self, slots: int) -> tuple[int, int]:
        """Return the byte range of the first `slots` slots, as (first, one past the last)."""
        return TABLE_BYTES, TABLE_BYTES + slots * self.slot_bytes


def layout_of(inputs: Sequence[Mapping[str, Any]], slots: int = 1, structure: Structure | None = None) -> Layout:
    """Lay out inputs.

    Args:
        inputs: The leaves of the arguments of a call, as `tensors.save` describes them.
        slots: The number of slots.
        structure: The nesting of the list of arguments, or None if each leaf is an argument.
    """
    placed = []
    offset = 0
    for meta in inputs:
        if "value" in meta:
            placed.append(dict(meta))
            continue
        placed.append({**meta, "offset": offset})
        size = span_of(meta["shape"], meta["stride"]) * DTYPES[meta["dtype"]].itemsize
        offset += -(-size // ALIGNMENT) * ALIGNMENT + _STAGGER
    nested = None if structure is None or structure.flat else structure
    return Layout(inputs=tuple(placed), structure=nested, slot_bytes=max(offset, ALIGNMENT), slots=slots)
