"""A scheduled program as C++: its groups, and an entry point that runs them one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod

import sympy

from kernelevolve.synthesis.builtin.cpp.fixed import Fixed, inner_sizes
from kernelevolve.synthesis.builtin.cpp.group import is_total, write_group
from kernelevolve.synthesis.builtin.cpp.layout import Addresses, read_elsewhere
from kernelevolve.synthesis.builtin.cpp.limits import CpuLimits
from kernelevolve.synthesis.builtin.cpp.prelude import header, prelude
from kernelevolve.synthesis.builtin.cpp.scalar import STORED, element_literal
from kernelevolve.synthesis.builtin.cpp.statements.dispatch import StatementWriter
from kernelevolve.synthesis.builtin.knobs import Choices
from kernelevolve.synthesis.builtin.plan.planning import Plan
from kernelevolve.synthesis.builtin.plan.schedule import FusedGroup
from kernelevolve.synthesis.builtin.plan.traits import traits_of
from kernelevolve.synthesis.builtin.plan.transform import extent_hint
from kernelevolve.synthesis.traced.expr import Load, walk
from kernelevolve.synthesis.traced.numbers import ITEM_BYTES
from kernelevolve.synthesis.traced.program import LibraryCall, Program, Role, Statement, expressions, reads


@dataclass(frozen=True)
class Source:
    """C++ text and how to call it."""

    text: str
    flags: tuple[str, ...]
    """The compiler flags."""
    arguments: tuple[str, ...]
    """The buffers that `run` takes pointers to, in order, before the sizes."""
    sizes: tuple[str, ...]
    """The sizes that `run` takes, in order."""
    workspace: tuple[str, ...]
    """The buffers that the caller allocates for each call."""
    kept: tuple[str, ...]
    """The buffers that `prepare` fills from parameters."""
    prepare_arguments: tuple[str, ...]
    """The buffers that `prepare` takes pointers to, in order."""
    program: Program
    """The transformed program that was written."""
    steps: tuple[int | LibraryCall, ...] = ()
    """The parts of `run` by number and the library calls between them; empty if there is one part and no call."""
    advised: tuple[str, ...] = ()
    """The parameters to call `advise` with, once for each address."""
    traits: Mapping[str, float] = field(default_factory=dict)
    """The traits of the kernel, see `traits.py`."""


def write(plan: Plan, choices: Choices, limits: CpuLimits) -> Source:
    """Write a plan as C++.

    Args:
        plan: The plan.
        choices: Answers the choices of the writer. Afterwards `choices.space` is the space of this program.
        limits: The limits of the CPU.
    """
    program, ready, groups = plan.program, set(plan.ready), list(plan.groups)
    early = list(plan.early)
    used: set[str] = set()
    external = _external(program, groups, ready)
    fixed = inner_sizes(program, groups)
    large = len(groups) > _MANY
    if fixed.values and not choices.flag("fixed_sizes", not large):
        fixed = Fixed()
    texts: list[str] = []
    parts: list[list[str]] = []
    """The calls of groups of each part of `run`."""
    steps: list[int | LibraryCall] = []
    block_rows: dict[int, int] = {}
    results = {o.buffer for o in program.outputs}
    elsewhere = read_elsewhere(groups)
    for i, g in enumerate(groups):
        if isinstance(g.statements[0], LibraryCall):
            steps.append(g.statements[0])
            continue
        if not steps or isinstance(steps[-1], LibraryCall):
            steps.append(len(parts))
            parts.append([])
        outside = elsewhere[i] | results
        text, call, block_rows[i] = write_group(g, i, program, choices, limits, fixed, outside, used)
        texts.append(text)
        parts[-1].append(call)
    vector = choices.number("vector_bytes", limits.vector_bytes, 16, 32, 64)
    sizes = tuple(program.sizes)
    own = {n for g in groups for s in g.statements if not isinstance(s, LibraryCall) for n in (*reads(s), s.buffer)}
    arguments = tuple(n for n in external if n in own)
    prepare_text, prepare_arguments = _prepare(early, program, choices, limits, used)
    advised = _gathered(groups, program)
    if advised and choices.flag("huge_pages", True):
        used.add("advise")
    else:
        advised = ()
    fields = "".join(f"  {_pointer(b, program, external)}{b};\n" for b in arguments)
    fields += "".join(f"  int64_t {s};\n" for s in sizes)
    constants = "".join(_constant(n, program) for n in program.constants)
    whole = len(steps) == 1 and not isinstance(steps[0], LibraryCall)
    entry = _entry if whole else _entry_by_parts
    body = (
        f"#define VECTOR_BYTES {vector}\n"
        + prelude(used)
        + f"\nstruct Arguments {{\n{fields}}};\n\n"
        + constants
        + "\n".join(texts)
        + (f"\n{prepare_text}" if prepare_text else "")
        + "".join(_part(k, calls, fixed) for k, calls in enumerate(parts))
        + entry(len(parts), [(_pointer(b, program, external), b) for b in arguments], sizes, fixed)
    )
    called = {s.buffer for s in steps if isinstance(s, LibraryCall)}
    workspace = tuple(
        b for b in external if program.buffers[b].role is Role.INTERMEDIATE and b not in ready and b not in called
    )
    kept = tuple(b for b in external if b in ready)
    return Source(
        header(body) + body,
        _flags(choices, vector, large),
        arguments,
        sizes,
        workspace,
        kept,
        prepare_arguments,
        program,
        () if whole else tuple(steps),
        advised,
        traits_of(program, groups, external, block_rows),
    )


def _part(number: int, calls: list[str], fixed: Fixed) -> str:
    silence = "  (void)a;\n" if not any(calls) else ""
    return f"\n{fixed.head}static void part{number}(const Arguments& a) {{\n{silence}{''.join(calls)}}}\n"


def _entry(parts: int, pointers: list[tuple[str, str]], sizes: tuple[str, ...], fixed: Fixed) -> str:
    """Return a `run` with one argument per pointer and size, for a program with a single part."""
    parameters = ", ".join([*(f"{kind}{name}" for kind, name in pointers), *(f"int64_t {s}" for s in sizes)])
    values = ", ".join([*(name for _, name in pointers), *sizes])
    call = "".join(fixed.dispatch(f"part{k}") for k in range(parts))
    return f'\nextern "C" void run({parameters}) {{\n  const Arguments a{{{values}}};\n{call}}}\n'


def _entry_by_parts(parts: int, pointers: list[tuple[str, str]], sizes: tuple[str, ...], fixed: Fixed) -> str:
    """Return a `run` with the number of a part and a table of all pointers and sizes, which keeps calls short."""
    values = [f"({kind.strip()})at[{k}]" for k, (kind, _) in enumerate(pointers)]
    values += [f"at[{len(pointers) + k}]" for k in range(len(sizes))]
    calls = "".join(f"  if (part == {k}) {{\n{fixed.dispatch(f'part{k}')}  }}\n" for k in range(parts))
    return (
        '\nextern "C" void run(int64_t part, const int64_t* at) {\n'
        + f"  const Arguments a{{{', '.join(values)}}};\n  (void)a;\n  (void)part;\n{calls}}}\n"
    )


_MANY = 40
"""The number of groups beyond which defaults save compile time: no specialized sizes, and -O2."""

_LARGE = 4 << 20
"""The bytes of a table from which gathered rows cause TLB misses with small pages."""


def _gathered(groups: list[FusedGroup], program: Program) -> tuple[str, ...]:
    """Return the large parameters that are read at loaded indices."""
    found: dict[str, None] = {}
    for e in (e for g in groups for s in g.statements for e in expressions(s)):
        for node in walk(e):
            if not isinstance(node, Load) or all(isinstance(t, sympy.Basic) for t in node.index):
                continue
            b = program.buffers[node.buffer]
            size = prod(extent_hint(x, program.hints) for x in b.extents) * ITEM_BYTES[b.dtype]
            if b.role is Role.PARAMETER and size >= _LARGE:
                found[node.buffer] = None
    return tuple(found)


def _flags(choices: Choices, vector: int, large: bool) -> tuple[str, ...]:
    level = choices.word("optimise", *(("-O2", "-O3") if large else ("-O3", "-O2")))
    flags = [level, "-march=native", f"-mprefer-vector-width={vector * 8}", "-fno-loop-unroll-and-jam"]
    # As in eager PyTorch, every operation rounds and integers wrap. errno and floating-point traps are not observed.
    flags += ["-fwrapv", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
    if choices.flag("unroll", False):
        flags.append("-funroll-loops")
    return tuple(flags)


def _pointer(buffer: str, program: Program, external: dict[str, bool]) -> str:
    ctype = STORED[program.buffers[buffer].dtype]
    return f"{ctype}* " if external[buffer] else f"const {ctype}* "


def _constant(name: str, program: Program) -> str:
    b = program.buffers[name]
    values = ", ".join(element_literal(v, b.dtype) for v in program.constants[name])
    return f"static const {STORED[b.dtype]} {name}[] = {{{values}}};\n\n"


def _external(program: Program, groups: list[FusedGroup], ready: set[str]) -> dict[str, bool]:
    """Return the buffers that are passed by pointer, and whether groups write them."""
    found: dict[str, bool] = {}
    results = {o.buffer for o in program.outputs}
    for g in groups:
        for s in g.statements:
            for name in reads(s):
                role = program.buffers[name].role
                if role in (Role.INPUT, Role.PARAMETER) or name in ready:
                    found.setdefault(name, False)
    for g, elsewhere in zip(groups, read_elsewhere(groups), strict=True):
        for s in g.statements:
            if s.buffer in results or s.buffer in elsewhere or _whole_result(s, g):
                found[s.buffer] = True
    return found


def _whole_result(s: Statement, g: FusedGroup) -> bool:
    """Return whether a statement is a parallel reduction to a scalar, whose result all threads must see."""
    return is_total(g) and s is g.statements[0]


def _prepare(
    early: list[Statement], program: Program, choices: Choices, limits: CpuLimits, used: set[str]
) -> tuple[str, tuple[str, ...]]:
    """Return `prepare`, which computes what depends on parameters only, and the buffers that it takes."""
    if not early:
        return "", ()
    names = dict.fromkeys(
        n for s in early for n in (*reads(s), s.buffer) if program.buffers[n].role is not Role.CONSTANT
    )
    written = {s.buffer for s in early}
    writer = StatementWriter(program, choices, limits, Addresses(program, {}), used, "prepare")
    lines = []
    for s in early:
        lines += [f"{{  // {s.buffer}: {s.hint}", *("  " + x for x in writer.write(s, None, set())), "}"]
    parameters = ", ".join(
        f"{'' if n in written else 'const '}{STORED[program.buffers[n].dtype]}* __restrict {n}" for n in names
    )
    body = "\n".join("  " + x for x in lines)
    return f'extern "C" void prepare({parameters}) {{\n{body}\n}}\n', tuple(names)
