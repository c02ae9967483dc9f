"""A small assembler for the classic BPF programs with which seccomp(2) filters system calls.

A block is a list of instructions that returns on every path, so blocks are combined without labels: a branch is a test, followed by the
block for yes and the block for no.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

_LOAD, _AND = 0x20, 0x54
"""The opcodes that load a word of the data into the accumulator, and that AND the accumulator with a constant."""
_GOTO, _IF_EQUAL, _IF_AT_LEAST = 0x05, 0x15, 0x35
"""The opcodes of an unconditional jump and of conditional jumps."""
_RETURN = 0x06
_FARTHEST = 255
"""The largest number of instructions that a conditional jump can skip."""

_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
"""The offsets in `struct seccomp_data`. Arguments have 64 bits, the low word first, since both architectures are little-endian."""

WORD = 0xFFFFFFFF
"""The mask of a whole 32-bit word."""
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000
"""The return values that let a call pass, and that make it fail with an errno."""


class Instruction(NamedTuple):
    """An instruction, as in `struct sock_filter`."""

    code: int
    """The opcode."""
    yes: int
    """The number of instructions to skip if the test holds."""
    no: int
    """The number of instructions to skip if the test does not hold."""
    constant: int
    """The constant operand."""

    def packed(self) -> bytes:
        """Return the instruction in the kernel's binary form."""
        return struct.pack("<HBBI", *self)


Block = list[Instruction]


class Among(NamedTuple):
    """A test of whether one 32-bit word of an argument, after masking, is one of some values."""

    argument: int
    """The position of the argument, counted from 0."""
    values: tuple[int, ...]
    """The values with which the word is compared."""
    mask: int = WORD
    """The mask that is applied to the word."""
    high: bool = False
    """Whether the high word is tested rather than the low one."""


def allow() -> Block:
    """Return a block that lets the call pass."""
    return [Instruction(_RETURN, 0, 0, _ALLOW)]


def fail(error: int) -> Block:
    """Return a block that makes the call do nothing and set errno to `error`."""
    return [Instruction(_RETURN, 0, 0, _ERROR | error)]


def if_architecture(audit: int, yes: Block, no: Block) -> Block:
    """Return a block that branches on whether the call is of the architecture `audit` (`AUDIT_ARCH_...`)."""
    return [_load(_ARCHITECTURE), *_branch(_IF_EQUAL, audit, yes, no)]


def if_among(test: Among, yes: Block, no: Block) -> Block:
    """Return a block that goes on with `yes` if a test holds, and with `no` otherwise."""
    block = no
    for value in test.values:
        block = _branch(_IF_EQUAL, value & WORD, yes, block)
    load = [_load(_ARGUMENTS + 8 * test.argument + 4 * test.high)]
    return [*load, *([] if test.mask == WORD else [Instruction(_AND, 0, 0, test.mask)]), *block]


def if_all(tests: Sequence[Among], yes: Block, no: Block) -> Block:
    """Return a block that goes on with `yes` if all tests hold, and with `no` otherwise."""
    for test in reversed(tests):
        yes = if_among(test, yes, no)
    return yes


def by_number(blocks: dict[int, Block], otherwise: Block, beyond: int, far: Block) -> Block:
    """Return a block that chooses among blocks by the number of the system call, by bisection.

    Args:
        blocks: The block of each number that has one.
        otherwise: The block of all other numbers below `beyond`.
        beyond: The number from which on `far` is used.
        far: The block of the numbers from `beyond` on.
    """
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
