"""Where inputs lie in the memory that a player shares with the judge.

A header holds a table of pointers, in which a player leaves where the outputs of a timed block lie. Slots follow, each with room for
the inputs of one call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evaluators.runtime.tensors import span_of
from kernelevolve.core.record import Record
from kernelevolve.tasks.structure import Structure
from kernelevolve.tasks.tensor_kinds import DTYPES

TABLE_BYTES = 1 << 16
ALIGNMENT = 64
_STAGGER = 192
"""Between inputs of a call: equal low bits of their addresses would make loads wait for unrelated stores."""


class Layout(Record):
    """Where the inputs of a call lie in a slot, and how many slots there are."""

    inputs: tuple[Mapping[str, Any], ...]
    """Of each leaf: `dtype`, `shape`, `stride` and `offset` in bytes of a tensor; `value` of anything else."""
    structure: Structure | None = None
    """How the leaves are nested, as the list of arguments; None where each is an argument."""
    slot_bytes: int
    slots: int

    @property
    def total_bytes(self) -> int:
        return self.part(self.slots)[1]

    def part(self, slots: int) -> tuple[int, int]:
        """(first byte, the one behind the last) of the first slots."""
        return TABLE_BYTES, TABLE_BYTES + slots * self.slot_bytes


def layout_of(inputs: Sequence[Mapping[str, Any]], slots: int = 1, structure: Structure | None = None) -> Layout:
    """`inputs`: leaves as `tensors.save` describes them; `structure`: of the list of arguments."""
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
