"""Kernel files from the code of TorchInductor: graphs for the inputs of a task, each used if its conditions hold."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from devices.toolchains.loader import LOADER
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.task import Task
from kernelevolve.synthesis.builtin.fallback import fits_method, reference_method, unless, unpacked
from kernelevolve.synthesis.builtin.inductor.lowering import Kind, Lowered, lower
from kernelevolve.synthesis.builtin.inductor.prelude import tunable, with_prelude
from kernelevolve.synthesis.builtin.inductor.wrapper import Graph, take_apart
from kernelevolve.synthesis.builtin.model_class import LOADED_NAMES, model_new_source
from kernelevolve.synthesis.builtin.modes import mode_condition, watched_modes
from kernelevolve.synthesis.traced.attributes import attribute_text
from kernelevolve.synthesis.traced.builder import UnsupportedError
from kernelevolve.synthesis.traced.signature import Origin
from kernelevolve.tasks.loading import build_model, draw_inputs, load_module
from kernelevolve.tasks.structure import flatten

_MAX_GRAPHS = 4
"""The greatest number of graphs in a kernel."""
_FLAGS = [
    "-O3",
    "-march=native",
    "-mprefer-vector-width=512",
    "-ffast-math",
    "-fno-finite-math-only",
    "-fno-unsafe-math-optimizations",
    "-ffp-contract=off",
    "-fno-unroll-loops",
]
"""The compiler flags of TorchInductor, under which sums and products are computed as written."""

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

class _LayoutError(Exception):
    """A tensor does not have the layout that the C++ expects."""


def _expect(tensor, size, stride, *_):
    """Check the layout of a tensor. The strides of dimensions of extent 1 do not matter."""
    if tensor.shape == size and tensor.stride() == stride:
        return
    if tensor.shape != size or any(a != b for n, a, b in zip(size, tensor.stride(), stride) if n > 1 and tensor.numel()):
        raise _LayoutError(f"a tensor of shape {{tuple(tensor.shape)}}, strides {{tensor.stride()}}: wants {{size}}, {{stride}}")


def _view(tensor, size, stride, offset=0):
    return tensor.as_strided(size, stride, tensor.storage_offset() + offset)
'''


@dataclass(frozen=True)
class _Written:
    """A graph with the text of its methods."""

    lowered: Lowered
    graph: Graph
    number: int
    """The number of the graph in the kernel, for its names."""

    @property
    def inputs(self) -> list[str]:
        """The names of the leaves of the arguments of `forward`."""
        return self.lowered.given.leaves

    def fits(self) -> str:
        """Return the method that tells whether the graph is valid for inputs."""
        lowered = self.lowered
        return fits_method(f"__fits_{self.number}", self.inputs, lowered.bindings, lowered.conditions)

    def run(self) -> str:
        """Return the method that runs the graph."""
        lines = [f"def __graph_{self.number}({', '.join(['self', *self.inputs])}):"]
        # The graph deletes its inputs as soon as possible.
        given = {leaf.number for leaf in self.lowered.returned.leaves if leaf.origin is Origin.INPUT}
        lines += [f"    given_{i} = {self.inputs[i]}" for i in sorted(given)]
        for a in self.lowered.arguments:
            if a.kind is Kind.STATE:
                lines.append(f"    {a.name} = {a.source}.detach()")
            elif a.kind is Kind.CONSTANT:
                lines.append(f"    {a.name} = _CONSTANT_{self.number}_{a.name}")
        lines += [textwrap.indent(s, "    ") for s in self.graph.statements]
        mutated = self.lowered.mutated
        for target, result in zip(mutated, self.graph.results, strict=False):
            lines.append(f"    {attribute_text(target)}.copy_({result})")
        results = self.graph.results[len(mutated) :]
        given_names = [f"given_{i}" for i in range(len(self.inputs))]
        lines.append(f"    return {self.lowered.returned.text(results, given_names)}")
        return "\n".join(lines) + "\n"

    def takes(self, inputs: Sequence[Any]) -> bool:
        """Return whether the graph is valid for inputs, by its method."""
        namespace: dict[str, Any] = {"torch": torch}
        exec(self.fits(), namespace)
        decide: Callable[..., bool] = namespace[f"__fits_{self.number}"]
        leaves, structure = flatten(list(inputs))
        return structure == self.lowered.given.structure and bool(decide(None, *leaves))

    def constants(self) -> list[str]:
        """Return the definitions of constants."""
        return [
            f"_CONSTANT_{self.number}_{a.name} = {a.source}" for a in self.lowered.arguments if a.kind is Kind.CONSTANT
        ]

    def signatures(self) -> list[str]:
        """Return the statements that declare the C++ functions to ctypes."""
        lines = []
        for f in self.graph.functions:
            types = ", ".join(f"ctypes.{t}" for t in f.argtypes)
            lines += [f"_LIBRARY.{f.name}.argtypes = [{types}]", f"_LIBRARY.{f.name}.restype = None"]
        return lines


def inductor_kernel(task: Task) -> tuple[Kernel, str]:
    """Write a kernel from the code of TorchInductor for the reference of a task. Nothing is compiled.

    One graph serves all inputs that its conditions allow, and other input variants get further graphs. For inputs that
    no graph allows the kernel runs the reference.

    Args:
        task: The task.

    Returns:
        The kernel, and a remark on the input variants that it does not cover, empty if there are none.

    Raises:
        UnsupportedError: TorchInductor has no code of its own for the main inputs.
        UserError: The code of the task fails.
    """
    loaded = load_module(task)
    graphs: list[_Written] = []
    modes = mode_condition(watched_modes(build_model(loaded, task.seed)))
    uncovered: dict[str, str] = {}
    for variant in (None, *loaded.get_input_variants()):
        inputs = draw_inputs(loaded, task.seed, variant)
        if any(g.takes(inputs) for g in graphs):
            continue
        if len(graphs) == _MAX_GRAPHS:
            uncovered[str(variant)] = f"more than {_MAX_GRAPHS} graphs"
            continue
        try:
            lowered = lower(build_model(loaded, task.seed), inputs)
            number = len(graphs)
            written = _Written(lowered, take_apart(lowered, f"g{number}_"), number)
            if not written.takes(inputs):
                raise UnsupportedError("conditions that its own inputs do not meet")
            if graphs and graphs[0].lowered.given != lowered.given:
                raise UnsupportedError("inputs that are nested differently")
        except UnsupportedError as reason:
            if variant is None:
                raise
            uncovered[variant] = str(reason)
            continue
        graphs.append(written)
    if not any(g.graph.functions for g in graphs):
        raise UnsupportedError("TorchInductor leaves all of it to ATen")
    remark = "; ".join(f"for the inputs {v} the reference's own operations run ({why})" for v, why in uncovered.items())
    return _kernel(task, graphs, modes, sorted(uncovered)), remark


def _kernel(task: Task, graphs: Sequence[_Written], modes: str, uncovered: Sequence[str]) -> Kernel:
    functions = [f for g in graphs for f in g.graph.functions]
    text = with_prelude("\n".join(tunable(f.text, k) for k, f in enumerate(functions)))
    head = _HEAD.format(
        flags=_FLAGS,
        source=text,
        loader=LOADER,
        signatures="\n".join(line for g in graphs for line in g.signatures()),
        constants="\n".join(line for g in graphs for line in g.constants()),
    )
    methods = [
        _forward(graphs, modes, uncovered),
        *(m for g in graphs for m in (g.fits(), g.run())),
        reference_method(task),
    ]
    source = model_new_source(task.source, "\n".join(methods), prelude=head, reserved=LOADED_NAMES)
    return Kernel(source=source, language="cpp")


def _forward(graphs: Sequence[_Written], modes: str, uncovered: Sequence[str]) -> str:
    taken = graphs[0].lowered.given
    names, leaves = taken.parameters, ", ".join(taken.leaves)
    reference = f"return self.__reference({', '.join(names)})"
    tensors = [a.name for a in graphs[0].lowered.arguments if a.kind is Kind.INPUT]
    lines = [f"def forward({', '.join(['self', *names])}):"]
    lines += filter(None, [unless(modes, names)])
    lines += unpacked(taken)
    lines += [f"    {n} = {n}.contiguous()" for n in tensors]
    for g in graphs:
        lines += [
            f"    if self.__fits_{g.number}({leaves}):",
            "        try:",
            f"            return self.__graph_{g.number}({leaves})",
            "        except _LayoutError:",
            f"            {reference}",
        ]
    if uncovered:
        lines.append(f"    # TorchInductor has no code for the inputs {', '.join(uncovered)}.")
    lines.append(f"    {reference}")
    return "\n".join(lines) + "\n"
