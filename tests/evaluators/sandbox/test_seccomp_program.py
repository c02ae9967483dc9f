"""The filter program: an interpreter of it against the rules that it is made from, on every architecture."""

from __future__ import annotations

import errno
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluators.sandbox import seccomp
from evaluators.sandbox.bpf import WORD, Among, Block
from evaluators.sandbox.system_calls import AUDIT, NEWEST, number_of


def evaluate(program: Block, number: int, audit: int, arguments: tuple[int, ...]) -> int:
    """What a kernel does with a filter: errno, 0 where the call is allowed."""
    words = {0: number, 4: audit}
    for i, argument in enumerate(arguments):
        words |= {16 + 8 * i: argument & WORD, 20 + 8 * i: argument >> 32}
    accumulator = at = 0
    while True:
        code, yes, no, constant = program[at]
        at += 1
        match code:
            case 0x20:
                accumulator = words[constant]
            case 0x54:
                accumulator &= constant
            case 0x05:
                at += constant
            case 0x15:
                at += yes if accumulator == constant else no
            case 0x35:
                at += yes if accumulator >= constant else no
            case 0x06:
                assert constant == 0x7FFF0000 or constant >> 16 == 5
                return constant & 0xFFFF if constant >> 16 == 5 else 0
            case _:
                raise AssertionError(f"no such instruction: {code:#x}")


PID = 4711
LISTED = {m: {number_of(c, m): r for r in seccomp.rules(PID) for c in r.calls.split()} for m in AUDIT}
PROGRAMS = {m: seccomp.program(m, PID) for m in AUDIT}
INTERESTING = sorted(
    {v & WORD for r in seccomp.rules(PID) for t in (*r.unless, r.only) if t for v in t.values} | {0, 1}
)


def holds(test: Among, arguments: tuple[int, ...]) -> bool:
    word = arguments[test.argument] >> 32 if test.high else arguments[test.argument] & WORD
    return word & test.mask in {v & WORD for v in test.values}


@given(
    machine=st.sampled_from(sorted(AUDIT)),
    number=st.integers(0, NEWEST + 20) | st.integers(0, WORD) | st.integers(0, 600).map(lambda n: n | 1 << 30),
    audit=st.sampled_from([*AUDIT.values(), 0x40000003, 0x40000028]),
    arguments=st.tuples(*[st.sampled_from(INTERESTING) | st.integers(0, (1 << 64) - 1)] * 6),
)
def test_the_program_says_what_the_rules_say(machine: str, number: int, audit: int, arguments: tuple[int, ...]) -> None:
    rule = LISTED[machine].get(number)
    if audit != AUDIT[machine] or number > NEWEST:
        expected = errno.ENOSYS
    elif rule is None:
        expected = 0
    elif rule.only is not None:
        expected = rule.error if holds(rule.only, arguments) else 0
    else:
        allowed = rule.unless and all(holds(test, arguments) for test in rule.unless)
        expected = 0 if allowed else rule.error
    assert evaluate(PROGRAMS[machine], number, audit, arguments) == expected


@pytest.mark.parametrize("machine", sorted(AUDIT))
def test_programs_fit_into_the_kernel_and_decide_quickly(machine: str) -> None:
    program = PROGRAMS[machine]
    assert len(program) < 4096
    assert all(0 <= i.yes < 256 and 0 <= i.no < 256 for i in program)
    # Loads and bisection: what every call of every kernel pays.
    reads = [n for n in range(NEWEST) if n not in LISTED[machine]]
    assert max(_steps(program, AUDIT[machine], n) for n in reads) < 24


def _steps(program: Block, audit: int, number: int) -> int:
    counted = 0

    class Counting(list):  # type: ignore[type-arg]
        def __getitem__(self, index: int) -> object:  # type: ignore[override]
            nonlocal counted
            counted += 1
            return super().__getitem__(index)

    evaluate(Counting(program), number, audit, (0,) * 6)
    return counted


@pytest.mark.parametrize(
    ("machine", "header"),
    [("x86_64", "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), ("aarch64", "/usr/include/asm-generic/unistd.h")],
)
def test_numbers_are_those_of_the_kernels_headers(machine: str, header: str) -> None:
    if not Path(header).exists():
        pytest.skip("no headers of this architecture")
    found = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", Path(header).read_text())
    # The first definition counts: later ones are for 32 bits.
    numbers = {name: int(number) for name, number in reversed(found)}
    calls = [call for rule in seccomp.rules(PID) for call in rule.calls.split()]
    known = {call: number for call in calls if (number := number_of(call, machine)) is not None}
    assert {c: n for c, n in known.items() if c in numbers} == {c: n for c, n in numbers.items() if c in calls}
    assert not {c for c in known if c not in numbers and known[c] < 430}


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("pid", [1, 4321, (1 << 22) - 1])
def test_the_program_that_is_kept_is_that_of_each_process(machine: str, pid: int) -> None:
    wanted = b"".join(instruction.packed() for instruction in seccomp.program(machine, pid))
    assert seccomp._packed(machine, pid, pinned=False) == wanted
