"""A scheduled program as C++: one function per group, and an entry point that runs the groups in parallel blocks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod

import sympy

from kernelevolve.synthesis.builtin.cpp.fixed import Fixed, inner_sizes
from kernelevolve.synthesis.builtin.cpp.layout import Addresses, Layout, read_elsewhere, scratch_layouts
from kernelevolve.synthesis.builtin.cpp.limits import CpuLimits
from kernelevolve.synthesis.builtin.cpp.prelude import header, prelude
from kernelevolve.synthesis.builtin.cpp.product import BLOCK, product_roles
from kernelevolve.synthesis.builtin.cpp.scalar import STORED, element_literal, index_text
from kernelevolve.synthesis.builtin.cpp.statement import StatementWriter
from kernelevolve.synthesis.builtin.knobs import Choices
from kernelevolve.synthesis.builtin.plan.arrange import all_axes
from kernelevolve.synthesis.builtin.plan.planning import Plan
from kernelevolve.synthesis.builtin.plan.schedule import FusedGroup
from kernelevolve.synthesis.builtin.plan.traits import traits_of
from kernelevolve.synthesis.builtin.plan.transform import extent_hint, transposed_axes
from kernelevolve.synthesis.traced.expr import Load, walk
from kernelevolve.synthesis.traced.numbers import ITEM_BYTES
from kernelevolve.synthesis.traced.program import (
    Axis,
    Contract,
    LibraryCall,
    Program,
    Reduce,
    Role,
    Statement,
    expressions,
    reads,
)


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
        text, call, block_rows[i] = _group(g, i, program, choices, limits, fixed, outside, used)
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
    return _is_total(g) and s is g.statements[0]


def _is_total(g: FusedGroup) -> bool:
    s = g.statements[0]
    return (
        len(g.statements) == 1
        and isinstance(s, Reduce)
        and not s.axes
        and bool(s.reduced)
        and not s.kind.startswith("arg")
    )


def _group(
    g: FusedGroup,
    number: int,
    program: Program,
    choices: Choices,
    limits: CpuLimits,
    fixed: Fixed,
    outside: set[str],
    used: set[str],
) -> tuple[str, str, int]:
    """Return the function of a group, the call of it, and the rows of a block."""
    name = f"g{number}"
    if _is_total(g):
        return *_total(g, number, program, choices, limits, fixed, used), 1
    rows = _rows(g, name, program, choices, limits, outside) if g.shared else 1
    layouts = scratch_layouts(g, rows, program, outside)
    addresses = Addresses(program, layouts)
    writer = StatementWriter(program, choices, limits, addresses, used, name, rows)
    lines: list[str] = []
    for position, s in enumerate(g.statements):
        shared = [row[position] for row in g.shared]
        names = [f"const int64_t {a.symbol.name} = p{k};" for k, a in enumerate(shared[:-1])]
        singles = [a for a in s.axes if a.extent == 1 and a.symbol not in {x.symbol for x in shared}]
        names += [f"const int64_t {a.symbol.name} = 0;" for a in singles]
        held = {a.symbol for a in (*shared[:-1], *singles)}
        body = writer.write(s, shared[-1] if shared else None, held)
        lines += [f"{{  // {s.buffer}: {s.hint}", *("  " + x for x in (*names, *body)), "}"]
    unpack = _unpack(g.statements, program, layouts, fixed)
    arguments = "".join(f", int64_t p{k}" for k in range(len(g.shared) - 1))
    if layouts:
        used.add("ke_scratch")
        unpack += _scratch(layouts, program)
    silence = ["(void)lo;", "(void)hi;"]
    body_text = "\n".join("  " + x for x in (*unpack, *silence, *lines))
    text = f"{fixed.head}static void group{number}(const Arguments& a{arguments}, int64_t lo, int64_t hi) {{\n{body_text}\n}}\n"
    return text, _call(g, number, rows, choices, fixed), rows


def _rows(g: FusedGroup, name: str, program: Program, choices: Choices, limits: CpuLimits, outside: set[str]) -> int:
    """Return the rows of a block: many for a product or an innermost loop, few if their scratch memory is large.

    The scratch memory of products may fill half of the second-level cache, since they reread as much per block.
    """
    hints = program.hints
    last = extent_hint(g.shared[-1][0].extent, hints)
    if all(len(_real_axes(s)) == len(g.shared) for s in g.statements):
        rows = choices.number(f"{name}.rows", 2048, 256, 512, 1024, 4096, 8192, 16384)
        return max(1, min(rows, last)) if last else rows
    tiled = any(_rows_of_tiles(g, k, program) for k in range(len(g.statements)))
    fitting = 8 if not tiled else last if 0 < last <= 64 else BLOCK
    each = sum(
        extent_hint(sympy.expand(layout.size()), hints) * ITEM_BYTES[program.buffers[n].dtype]
        for n, layout in scratch_layouts(g, 1, program, outside).items()
    )
    room = 4 * limits.near_bytes if tiled else limits.near_bytes
    while fitting > 1 and fitting * each > room:
        fitting //= 2
    rows = choices.number(f"{name}.rows", fitting, 1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128)
    return max(1, min(rows, last)) if last else rows


def _rows_of_tiles(g: FusedGroup, position: int, program: Program) -> bool:
    """Return whether the rows of the block are rows of the tiles of a product or of a transposed copy."""
    s = g.statements[position]
    shared = [row[position] for row in g.shared]
    if isinstance(s, Contract):
        out = [a for a in s.axes if a not in shared[:-1] and a.extent != 1]
        roles = product_roles(s, out, shared[-1], program)
        return roles is not None and roles[0].symbol == shared[-1].symbol
    turned = transposed_axes(s, program)
    return turned is not None and shared[-1] in turned


def _real_axes(s: Statement) -> list[Axis]:
    return [a for a in all_axes(s) if a.extent != 1]


def _call(g: FusedGroup, number: int, rows: int, choices: Choices, fixed: Fixed) -> str:
    if not g.shared:
        return f"  group{number}{fixed.arguments}(a, 0, 1);\n"
    extents = g.extents
    symbols = sorted({s.name for e in extents for s in e.free_symbols})
    local = "".join(f"    const int64_t {s} = {fixed.size(s)};\n" for s in symbols)
    total = "tiles" + "".join(f" * {index_text(e)}" for e in extents[:-1])
    decode, rest = [], "b / tiles"
    for k in reversed(range(len(extents) - 1)):
        decode.append(f"      const int64_t p{k} = ({rest}) % {index_text(extents[k])};\n")
        rest = f"({rest}) / {index_text(extents[k])}"
    names = "".join(f", p{k}" for k in range(len(extents) - 1))
    how = choices.word("schedule", "static", "dynamic")
    end = index_text(extents[-1])
    return (
        "  {\n"
        + local
        + f"    const int64_t tiles = ({end} + {rows - 1}) / {rows}, blocks = {total};\n"
        + f"    #pragma omp parallel for schedule({how}) {_threads(choices)}\n"
        + "    for (int64_t b = 0; b < blocks; ++b) {\n"
        + "".join(decode)
        + f"      const int64_t lo = (b % tiles) * {rows}, hi = lo + {rows} < {end} ? lo + {rows} : {end};\n"
        + f"      group{number}{fixed.arguments}(a{names}, lo, hi);\n"
        + "    }\n  }\n"
    )


def _threads(choices: Choices) -> str:
    """Return the OpenMP clause for the number of threads. For little work waking threads costs more than it saves."""
    match choices.word("threads", "all", "half", "one"):
        case "half":
            return "num_threads((omp_get_max_threads() + 1) / 2) if (blocks > 1)"
        case "one":
            return "if (false)"
        case _:
            return "if (blocks > 1)"


def _unpack(statements: tuple[Statement, ...], program: Program, layouts: dict[str, Layout], fixed: Fixed) -> list[str]:
    names = dict.fromkeys(n for s in statements for n in (*reads(s), s.buffer))
    lines = []
    for n in names:
        if n in layouts or program.buffers[n].role is Role.CONSTANT:
            continue
        written = any(s.buffer == n for s in statements)
        ctype = STORED[program.buffers[n].dtype]
        lines.append(f"{'' if written else 'const '}{ctype}* __restrict {n} = a.{n};")
    lines += [f"const int64_t {s} = {fixed.size(s)};\n  (void){s};" for s in program.sizes]
    return lines


def _scratch(layouts: dict[str, Layout], program: Program) -> list[str]:
    lines, total = ["size_t need = 0;"], []
    for n, layout in layouts.items():
        ctype = STORED[program.buffers[n].dtype]
        bytes_ = f"(({index_text(sympy.expand(layout.size()))}) * sizeof({ctype}) + 127) / 64 * 64"
        total.append(f"const size_t at_{n} = need; need += {bytes_};")
    lines += total
    lines.append("char* scratch = ke_scratch(need);")
    for n in layouts:
        ctype = STORED[program.buffers[n].dtype]
        lines.append(f"{ctype}* __restrict {n} = ({ctype}*)(scratch + at_{n});")
    return lines


def _total(
    g: FusedGroup, number: int, program: Program, choices: Choices, limits: CpuLimits, fixed: Fixed, used: set[str]
) -> tuple[str, str]:
    """Write a reduction to one value: blocks in parallel, whose results are combined in order, sums in double."""
    (s,) = g.statements
    assert isinstance(s, Reduce)
    writer = StatementWriter(program, choices, limits, Addresses(program, {}), used, f"g{number}")
    axis = writer.partial_axis(s)
    single = len(s.reduced) == 1
    rows = choices.number(
        f"g{number}.rows", *((8192, 1024, 2048, 4096, 16384, 65536) if single else (16, 1, 2, 4, 8, 64))
    )
    ctype = writer.partial_type(s, rows)
    body = "\n".join("  " + x for x in (*_unpack(g.statements, program, {}, fixed), *writer.partial(s, ctype)))
    text = f"{fixed.head}static {ctype} group{number}(const Arguments& a, int64_t lo, int64_t hi) {{\n{body}\n}}\n"
    wide = "double" if ctype == "float" else ctype
    combine = writer.combine(s.kind, wide, "total", f"({wide})part[b]")
    symbols = "".join(
        f"    const int64_t {x.name} = {fixed.size(x.name)};\n" for x in sorted(axis.extent.free_symbols, key=str)
    )
    end = index_text(axis.extent)
    dtype = STORED[program.buffers[s.buffer].dtype]
    call = (
        "  {\n"
        + symbols
        + f"    const int64_t blocks = ({end} + {rows - 1}) / {rows};\n"
        + f"    {ctype}* part = ({ctype}*)std::malloc(sizeof({ctype}) * (blocks + 1));\n"
        + f"    #pragma omp parallel for schedule(static) {_threads(choices)}\n"
        + "    for (int64_t b = 0; b < blocks; ++b) {\n"
        + f"      const int64_t lo = b * {rows}, hi = lo + {rows} < {end} ? lo + {rows} : {end};\n"
        + f"      part[b] = group{number}{fixed.arguments}(a, lo, hi);\n    }}\n"
        + f"    {wide} total = {writer.initial(s.kind, wide)};\n"
        + f"    for (int64_t b = 0; b < blocks; ++b) total = {combine};\n"
        + f"    a.{s.buffer}[0] = ({dtype})total;\n    std::free(part);\n  }}\n"
    )
    return text, call


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
