"""A kernel file out of TorchInductor's code: graphs for the inputs of a task, each entered where its assumptions hold."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from devices.toolchains.loader import LOADER
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.task import Task
from kernelevolve.synthesis.builtin.inductor.lowering import Kind, Lowered, lower
from kernelevolve.synthesis.builtin.inductor.prelude import tunable, with_prelude
from kernelevolve.synthesis.builtin.inductor.wrapper import Graph, take_apart
from kernelevolve.synthesis.builtin.kernel_file import attribute_text
from kernelevolve.synthesis.builtin.model_class import REFERENCE, model_new_source
from kernelevolve.synthesis.traced.builder import UnsupportedError
from kernelevolve.tasks.loading import build_model, draw_inputs, load_module

_MOST_GRAPHS = 4
_FLAGS = [
    "-O3",
    "-march=native",
    "-mprefer-vector-width=512",
    "-ffast-math",
    "-fno-finite-math-only",
    "-fno-unroll-loops",
]

_HEAD = '''\
import ctypes
import math

import torch

CPP_FLAGS = {flags}

CPP_SOURCE = r"""
{source}"""

{loader}

_LIBRARY = load_library(CPP_SOURCE, CPP_FLAGS)
{signatures}
{constants}

def _expect(tensor, size, stride, *_):
    """Raises where a tensor does not lie as the C++ reads it; the strides of single elements do not matter."""
    if tensor.shape == size and tensor.stride() == stride:
        return
    if tensor.shape != size or any(a != b for n, a, b in zip(size, tensor.stride(), stride) if n > 1 and tensor.numel()):
        raise ValueError(f"a tensor of shape {{tuple(tensor.shape)}}, strides {{tensor.stride()}}: wants {{size}}, {{stride}}")


def _view(tensor, size, stride, offset=0):
    return tensor.as_strided(size, stride, tensor.storage_offset() + offset)
'''


@dataclass(frozen=True)
class _Written:
    """One graph with the methods that decide for it and run it."""

    lowered: Lowered
    graph: Graph
    number: int

    @property
    def inputs(self) -> list[str]:
        return [a.name for a in self.lowered.arguments if a.kind in (Kind.INPUT, Kind.FIXED)]

    def fits(self) -> str:
        """The method that says whether the graph is right for its inputs."""
        lines = [f"def _fits_{self.number}({', '.join(['self', *self.inputs])}):"]
        bound = {name for name, _ in self.lowered.bindings}
        early = [c for c in self.lowered.conditions if not bound & _names(c) and ".shape[" not in c]
        late = [c for c in self.lowered.conditions if c not in early]
        lines += [f"    if not ({' and '.join(early)}):", "        return False"] if early else []
        lines += [f"    {name} = {value}" for name, value in self.lowered.bindings]
        lines.append(f"    return {' and '.join(late) or 'True'}")
        return "\n".join(lines) + "\n"

    def run(self) -> str:
        """The method that runs the graph."""
        lines = [f"def _graph_{self.number}({', '.join(['self', *self.inputs])}):"]
        for a in self.lowered.arguments:
            if a.kind is Kind.STATE:
                lines.append(f"    {a.name} = {attribute_text(a.source)}.detach()")
            elif a.kind is Kind.CONSTANT:
                lines.append(f"    {a.name} = _CONSTANT_{self.number}_{a.name}")
        lines += [textwrap.indent(s, "    ") for s in self.graph.statements]
        mutated = self.lowered.mutated
        for target, result in zip(mutated, self.graph.results, strict=False):
            lines.append(f"    {attribute_text(target)}.copy_({result})")
        results = self.graph.results[len(mutated) :]
        inner = ", ".join(results)
        returned = {"tensor": inner, "list": f"[{inner}]", "tuple": f"({inner},)" if results else "()"}
        lines.append(f"    return {returned[self.lowered.structure]}")
        return "\n".join(lines) + "\n"

    def takes(self, inputs: Sequence[Any]) -> bool:
        """Whether the written method says yes."""
        namespace: dict[str, Any] = {"torch": torch}
        exec(self.fits(), namespace)
        decide: Callable[..., bool] = namespace[f"_fits_{self.number}"]
        return len(inputs) == len(self.inputs) and bool(decide(None, *inputs))

    def constants(self) -> list[str]:
        return [
            f"_CONSTANT_{self.number}_{a.name} = {a.source}" for a in self.lowered.arguments if a.kind is Kind.CONSTANT
        ]

    def signatures(self) -> list[str]:
        lines = []
        for f in self.graph.functions:
            types = ", ".join(f"ctypes.{t}" for t in f.argtypes)
            lines += [f"_LIBRARY.{f.name}.argtypes = [{types}]", f"_LIBRARY.{f.name}.restype = None"]
        return lines


def inductor_kernel(task: Task) -> tuple[Kernel, str]:
    """TorchInductor's code for the reference of `task`, and a remark on the inputs that it does not cover ("" where there are none).

    One graph serves all the inputs that its assumptions about sizes allow; variants beyond them get graphs of their own, and where
    that cannot be, the reference's own operations. Inputs that nothing covers are refused by the kernel. Nothing is compiled here.
    Raises UnsupportedError where TorchInductor has no code of its own for the main inputs; `UserError` where the task is at fault.
    """
    loaded = load_module(task)
    graphs: list[_Written] = []
    uncovered: dict[str, str] = {}
    for variant in (None, *loaded.get_input_variants()):
        inputs = draw_inputs(loaded, task.seed, variant)
        if any(g.takes(inputs) for g in graphs):
            continue
        if len(graphs) == _MOST_GRAPHS:
            uncovered[str(variant)] = f"more than {_MOST_GRAPHS} graphs"
            continue
        try:
            lowered = lower(build_model(loaded, task.seed), inputs)
            number = len(graphs)
            written = _Written(lowered, take_apart(lowered, f"g{number}_"), number)
            if not written.takes(inputs):
                raise UnsupportedError("conditions that its own inputs do not meet")
            if graphs and graphs[0].inputs != written.inputs:
                raise UnsupportedError("another number of inputs")
        except UnsupportedError as reason:
            if variant is None:
                raise
            uncovered[variant] = str(reason)
            continue
        graphs.append(written)
    if not any(g.graph.functions for g in graphs):
        raise UnsupportedError("TorchInductor leaves all of it to ATen")
    remark = "; ".join(f"for the inputs {v} the reference's own operations run ({why})" for v, why in uncovered.items())
    return _kernel(task, graphs, sorted(uncovered)), remark


def _kernel(task: Task, graphs: Sequence[_Written], uncovered: Sequence[str]) -> Kernel:
    functions = [f for g in graphs for f in g.graph.functions]
    text = with_prelude("\n".join(tunable(f.text, k) for k, f in enumerate(functions)))
    head = _HEAD.format(
        flags=_FLAGS,
        source=text,
        loader=LOADER,
        signatures="\n".join(line for g in graphs for line in g.signatures()),
        constants="\n".join(line for g in graphs for line in g.constants()),
    )
    methods = [_forward(graphs, uncovered), *(m for g in graphs for m in (g.fits(), g.run()))]
    if uncovered:
        methods.append(_reference_forward(task.source))
    source = model_new_source(task.source, "\n".join(methods), prelude=head)
    return Kernel(source=source, language="cpp")


def _forward(graphs: Sequence[_Written], uncovered: Sequence[str]) -> str:
    names = graphs[0].inputs
    given = ", ".join(names)
    tensors = [a.name for a in graphs[0].lowered.arguments if a.kind is Kind.INPUT]
    lines = [f"def forward({', '.join(['self', *names])}):"]
    lines += [f"    {n} = {n}.contiguous()" for n in tensors]
    for g in graphs:
        lines += [f"    if self._fits_{g.number}({given}):", f"        return self._graph_{g.number}({given})"]
    if uncovered:
        lines += [
            f"    # TorchInductor has no code for the inputs {', '.join(uncovered)}: the reference's own operations.",
            f"    return self._reference_forward({given})",
        ]
    else:
        shown = ", ".join(f"tuple({n}.shape)" for n in tensors)
        lines.append(f'    raise ValueError(f"no graph of this kernel takes inputs of shapes {{[{shown}]}}")')
    return "\n".join(lines) + "\n"


def _reference_forward(task_source: str) -> str:
    """The reference's forward under another name."""
    for node in ast.parse(task_source).body:
        if isinstance(node, ast.ClassDef) and node.name == REFERENCE:
            for method in node.body:
                if isinstance(method, ast.FunctionDef) and method.name == "forward":
                    text = ast.get_source_segment(task_source, method, padded=True) or ""
                    return textwrap.dedent(text).replace("def forward(", "def _reference_forward(", 1) + "\n"
    return "def _reference_forward(self, *inputs):\n    return super().forward(*inputs)\n"


def _names(expression: str) -> set[str]:
    return {n.id for n in ast.walk(ast.parse(expression)) if isinstance(n, ast.Name)}
