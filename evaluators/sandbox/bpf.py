"""Programs of classic BPF that decide about system calls, as seccomp(2) runs them.

A block is a list of instructions that returns on every path, so blocks are put together without labels: a branch is a test followed by
the block for yes and the block for no.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

_LOAD, _AND = 0x20, 0x54
"""A word of the data into the accumulator; the accumulator and a constant."""
_GOTO, _IF_EQUAL, _IF_AT_LEAST = 0x05, 0x15, 0x35
_RETURN = 0x06
_FARTHEST = 255
"""Instructions that a conditional jump can pass over."""

_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
"""Offsets in `struct seccomp_data`. Arguments have 64 bits, the low word first: both architectures are little-endian."""

WORD = 0xFFFFFFFF
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000


class Instruction(NamedTuple):
    """`struct sock_filter`: where to go on, counted from the next instruction, and a constant."""

    code: int
    yes: int
    no: int
    constant: int

    def packed(self) -> bytes:
        return struct.pack("<HBBI", *self)


Block = list[Instruction]


class Among(NamedTuple):
    """Whether a word of an argument (counted from 0), after the mask, is one of these."""

    argument: int
    values: tuple[int, ...]
    mask: int = WORD
    high: bool = False


def allow() -> Block:
    return [Instruction(_RETURN, 0, 0, _ALLOW)]


def fail(error: int) -> Block:
    """The call does nothing and sets errno."""
    return [Instruction(_RETURN, 0, 0, _ERROR | error)]


def if_architecture(audit: int, yes: Block, no: Block) -> Block:
    return [_load(_ARCHITECTURE), *_branch(_IF_EQUAL, audit, yes, no)]


def if_among(test: Among, yes: Block, no: Block) -> Block:
    block = no
    for value in test.values:
        block = _branch(_IF_EQUAL, value & WORD, yes, block)
    load = [_load(_ARGUMENTS + 8 * test.argument + 4 * test.high)]
    return [*load, *([] if test.mask == WORD else [Instruction(_AND, 0, 0, test.mask)]), *block]


def if_all(tests: Sequence[Among], yes: Block, no: Block) -> Block:
    for test in reversed(tests):
        yes = if_among(test, yes, no)
    return yes


def by_number(blocks: dict[int, Block], otherwise: Block, beyond: int, far: Block) -> Block:
    """The block of a system call's number; `otherwise` where it has none, `far` from number `beyond` on. Found by bisection."""
    starts: list[tuple[int, Block]] = []
    for number in sorted({0, beyond, *blocks, *(n + 1 for n in blocks)}):
        block = far if number >= beyond else blocks.get(number, otherwise)
        if not starts or starts[-1][1] != block:
            starts.append((number, block))
    return [_load(_NUMBER), *_bisect(starts)]


def _bisect(starts: list[tuple[int, Block]]) -> Block:
    if len(starts) == 1:
        return starts[0][1]
    middle = len(starts) // 2
    return _branch(_IF_AT_LEAST, starts[middle][0], _bisect(starts[middle:]), _bisect(starts[:middle]))


def _load(offset: int) -> Instruction:
    return Instruction(_LOAD, 0, 0, offset)


def _branch(test: int, constant: int, yes: Block, no: Block) -> Block:
    if len(yes) <= _FARTHEST:
        return [Instruction(test, 0, len(yes), constant), *yes, *no]
    return [Instruction(test, 1, 0, constant), Instruction(_GOTO, 0, 0, len(yes)), *yes, *no]
