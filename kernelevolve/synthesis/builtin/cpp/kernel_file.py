"""Kernel files: self-contained Python files with C++ in them that define `ModelNew`."""

from __future__ import annotations

import pprint
from functools import lru_cache

from devices.toolchains.loader import LOADER
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.task import AllowAten, Task
from kernelevolve.synthesis.builtin.cpp.scalar import index_text
from kernelevolve.synthesis.builtin.cpp.writer import Source
from kernelevolve.synthesis.builtin.fallback import reference_method, unless, unpacked
from kernelevolve.synthesis.builtin.knobs import Choices
from kernelevolve.synthesis.builtin.model_class import LOADED_NAMES, model_new_source
from kernelevolve.synthesis.builtin.modes import mode_condition
from kernelevolve.synthesis.builtin.plan.library import call_text
from kernelevolve.synthesis.traced.attributes import assignment
from kernelevolve.synthesis.traced.expr import Size
from kernelevolve.synthesis.traced.program import LibraryCall, Role, reads
from kernelevolve.synthesis.traced.signature import is_value

_HEAD = '''\
import ctypes

import torch

KNOBS = {knobs}

CPP_FLAGS = {flags}

CPP_SOURCE = r"""
{source}"""

{loader}

_LIBRARY = load_library(CPP_SOURCE, CPP_FLAGS)
_LIBRARY.run.argtypes = {types}
_LIBRARY.run.restype = None
'''

_WHOLE = "[ctypes.c_void_p] * {} + [ctypes.c_int64] * {}"
"""The argument types of `run` in a program with one part."""
_BY_PARTS = "[ctypes.c_int64, ctypes.c_void_p]"
"""The argument types of `run` in a program with several parts."""

_MARK = "_LIBRARY = None"
"""The line that the head replaces."""
_RESERVED = frozenset({"KNOBS", *LOADED_NAMES})

_PREPARE = """\
_LIBRARY.prepare.argtypes = [ctypes.c_void_p] * {count}
_LIBRARY.prepare.restype = None
"""

_ADVISE = """\
_LIBRARY.advise.argtypes = [ctypes.c_void_p, ctypes.c_int64]
_LIBRARY.advise.restype = None
"""


def kernel_file(task: Task, source: Source, choices: Choices) -> Kernel:
    """Return the kernel of a written program.

    Args:
        task: The task.
        source: The written program.
        choices: The choices that were made, which become the knobs of the kernel.
    """
    head = _HEAD.format(
        knobs=pprint.pformat(choices.values, sort_dicts=True, width=110),
        flags=list(source.flags),
        source=source.text,
        loader=LOADER.strip("\n"),
        types=_BY_PARTS if source.steps else _WHOLE.format(len(source.arguments), len(source.sizes)),
    )
    if source.kept:
        head += _PREPARE.format(count=len(source.prepare_arguments))
    if source.advised:
        head += _ADVISE
    forward = _forward(source, rebinds=task.allow_aten is AllowAten.NONE) + "\n" + reference_method(task)
    text = _shell(task.source, forward).replace(_MARK, head.strip("\n"))
    return Kernel(source=text, language="cpp", knobs=dict(choices.values))


@lru_cache(maxsize=64)
def _shell(task_source: str, forward: str) -> str:
    """Return the file without its head, which is inserted as text because parsing it would be slow."""
    return model_new_source(task_source, forward, prelude=_MARK, reserved=_RESERVED)


def _size_text(extent: Size) -> str:
    return index_text(extent).replace(" / ", " // ")


def _shape(extents: tuple[Size, ...]) -> str:
    inner = ", ".join(map(_size_text, extents))
    return f"({inner},)" if len(extents) == 1 else f"({inner})"


def _forward(source: Source, rebinds: bool) -> str:
    """Return the methods. `rebinds` replaces changed buffers instead of copying into them, which a task may forbid."""
    program = source.program
    names = program.arguments.parameters
    lines = [f"def forward({', '.join(['self', *names])}):", *unpacked(program.arguments)]
    inputs = [n for n in program.inputs if n is not None]
    kinds = [is_value(n, v) for n, v in program.fixed.items()]
    kinds += [f"{n}.dim() == {len(program.input_shapes[n])}" for n in inputs if program.input_shapes[n]]
    lines.append(unless(" and ".join(filter(None, [mode_condition(program.modes), *kinds])), names))
    lines += [f"    {s} = {b}.shape[{d}]" for s, (b, d) in program.sizes.items()]
    shapes = [
        f"{n}.shape == {_shape(program.input_shapes[n])} and {n}.dtype == torch.{program.buffers[n].dtype}"
        for n in inputs
    ]
    for size, (low, high) in program.ranges.items():
        shapes.append(f"{low} <= {size}" if high is None else f"{low} <= {size} <= {high}")
    lines.append(unless(" and ".join([*shapes, *(f"({c})" for c in program.conditions)]), names))
    given = {o.argument: f"{o.argument}_given" for o in program.outputs if o.argument}
    lines += [f"    {name} = {n}" for n, name in given.items()]
    lines += [f"    {n} = {n}.contiguous()" for n in inputs]
    parameters = [n for n, b in program.buffers.items() if b.role is Role.PARAMETER]
    called = [s for s in source.steps if isinstance(s, LibraryCall)]
    taken = {*source.arguments, *(n for s in called for n in reads(s))}
    direct = [n for n in parameters if n in taken]
    lines += [f"    {n} = {program.buffers[n].attribute}.detach().contiguous()" for n in direct]
    if source.advised:
        lines.append(f"    self.__advise({', '.join(source.advised)})")
    if source.kept:
        lines.append(f"    {', '.join(source.kept)}{',' if len(source.kept) == 1 else ''} = self.__prepared()")
    made = {s.buffer for s in called}
    for o in program.outputs:
        if o.buffer not in made:
            lines.append(f"    {o.buffer} = torch.empty({_shape(o.shape)}, dtype=torch.{o.dtype})")
    for n in source.workspace:
        b = program.buffers[n]
        lines.append(f"    {n} = torch.empty({_shape(b.extents)}, dtype=torch.{b.dtype})")
    lines += _steps(source) if source.steps else [f"    _LIBRARY.run({_arguments(source, set())})"]
    for o in program.outputs:
        if o.attribute and rebinds:
            lines.append(f"    {assignment(o.attribute, o.buffer)}")
        elif not o.returned:
            place = o.attribute if o.attribute else given[o.argument]
            lines.append(f"    {place}.copy_({o.buffer})")
    results = [program.outputs[r].buffer if isinstance(r, int) else _size_text(r) for r in program.results]
    leaves = [given.get(n, n) for n in program.arguments.leaves]
    lines.append(f"    return {program.returned.text(results, leaves)}")
    text = "\n".join(filter(None, lines)) + "\n"
    if source.advised:
        text += "\n" + _ADVISE_METHOD
    if source.kept:
        text += "\n" + _prepared(source)
    return text


def _arguments(source: Source, later: set[str]) -> str:
    """Return the pointers and sizes. Pointers of buffers in `later` are 0, because they do not exist yet."""
    pointers = ("0" if n in later else f"{n}.data_ptr()" for n in source.arguments)
    return ", ".join([*pointers, *source.sizes])


def _steps(source: Source) -> list[str]:
    """Return the calls of parts and of PyTorch's operations, in order, with one table of pointers and sizes."""
    made = {s.buffer for s in source.steps if isinstance(s, LibraryCall)}
    count = len(source.arguments) + len(source.sizes)
    lines = [f"    at = (ctypes.c_int64 * {count})({_arguments(source, made)})"]
    for s in source.steps:
        if not isinstance(s, LibraryCall):
            lines.append(f"    _LIBRARY.run({s}, at)")
            continue
        lines.append(f"    {s.buffer} = {call_text(s, source.program, _shape)}  # {s.hint}")
        if s.buffer in source.arguments:
            lines.append(f"    at[{source.arguments.index(s.buffer)}] = {s.buffer}.data_ptr()")
    return lines


_ADVISE_METHOD = """\
__advised_at = None

def __advise(self, *tables):
    places = tuple(t.data_ptr() for t in tables)
    if self.__advised_at != places:
        for t in tables:
            _LIBRARY.advise(t.data_ptr(), t.numel() * t.element_size())
        self.__advised_at = places
"""


def _prepared(source: Source) -> str:
    """Return the method that computes what depends on parameters only, again whenever one of them has changed."""
    program = source.program
    sources = [n for n in source.prepare_arguments if program.buffers[n].role is Role.PARAMETER]
    lines = ["__prepared_for = None", "", "def __prepared(self):"]
    lines += [f"    {n} = {program.buffers[n].attribute}.detach()" for n in sources]
    versions = ", ".join(f"({n}.data_ptr(), {program.buffers[n].attribute}._version)" for n in sources)
    lines += [
        f"    versions = ({versions}{',' if sources else ''})",
        "    if self.__prepared_for != versions:",
    ]
    lines += [f"        {n} = {n}.contiguous()" for n in sources]
    made = [n for n in source.prepare_arguments if n not in sources]
    for n in made:
        b = program.buffers[n]
        lines.append(f"        {n} = torch.empty({_shape(b.extents)}, dtype=torch.{b.dtype})")
    arguments = ", ".join(f"{n}.data_ptr()" for n in source.prepare_arguments)
    kept = ", ".join(source.kept)
    lines += [
        f"        _LIBRARY.prepare({arguments})",
        f"        self.__prepared_tensors = ({kept},)",
        "        self.__prepared_for = versions",
        "    return self.__prepared_tensors",
    ]
    return "\n".join(lines) + "\n"
