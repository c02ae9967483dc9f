"""A fused group as C++: a function for one block of rows, and the loop that calls it for all blocks in parallel."""

from __future__ import annotations

import sympy

from kernelevolve.synthesis.builtin.cpp.fixed import Fixed
from kernelevolve.synthesis.builtin.cpp.layout import Addresses, Layout, scratch_layouts
from kernelevolve.synthesis.builtin.cpp.limits import CpuLimits
from kernelevolve.synthesis.builtin.cpp.scalar import STORED, index_text
from kernelevolve.synthesis.builtin.cpp.statements.dispatch import StatementWriter
from kernelevolve.synthesis.builtin.cpp.statements.product import BLOCK, product_roles
from kernelevolve.synthesis.builtin.knobs import Choices
from kernelevolve.synthesis.builtin.plan.arrange import all_axes
from kernelevolve.synthesis.builtin.plan.schedule import FusedGroup
from kernelevolve.synthesis.builtin.plan.transform import extent_hint, transposed_axes
from kernelevolve.synthesis.traced.numbers import ITEM_BYTES
from kernelevolve.synthesis.traced.program import Axis, Contract, Program, Reduce, Role, Statement, reads


def is_total(g: FusedGroup) -> bool:
    """Return whether a group is a reduction to one value, which is written in parallel blocks."""
    s = g.statements[0]
    return (
        len(g.statements) == 1
        and isinstance(s, Reduce)
        and not s.axes
        and bool(s.reduced)
        and not s.kind.startswith("arg")
    )


def write_group(
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
    if is_total(g):
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
