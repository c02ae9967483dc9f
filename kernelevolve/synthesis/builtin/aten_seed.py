"""A first kernel for references that the traced form cannot express: the exported ATen graph, as readable Python.

It is hardly faster than the reference, since it only saves the calls of modules.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import torch
from torch.export.graph_signature import OutputKind

from kernelevolve.core.kernel import Kernel
from kernelevolve.core.task import Task
from kernelevolve.synthesis.builtin.fallback import fits_method, reference_method, unless, unpacked
from kernelevolve.synthesis.builtin.inductor.lowering import Argument, Kind, conditions, named_arguments
from kernelevolve.synthesis.builtin.model_class import model_new_source
from kernelevolve.synthesis.builtin.modes import mode_condition, watched_modes
from kernelevolve.synthesis.traced.attributes import attribute_text
from kernelevolve.synthesis.traced.builder import UnsupportedError
from kernelevolve.synthesis.traced.exporting import export_program

_HEAD = "import torch\nfrom torch import device\n\ninf, nan = float('inf'), float('nan')"


def aten_kernel(task: Task, model: torch.nn.Module, inputs: Sequence[Any]) -> Kernel:
    """Return a kernel that runs the graph of `model`. Inputs that the graph does not hold for take the reference's own operations.

    Raises:
        UnsupportedError: torch.export has no graph of the model.
    """
    modes = mode_condition(watched_modes(model))
    taken = export_program(model, inputs, table={})
    exported = taken.program
    signature = exported.graph_signature
    arguments = named_arguments(taken)
    exported.graph_module.recompile()
    bindings, assumed = conditions(exported, arguments)
    names, leaves = taken.arguments.parameters, taken.arguments.leaves
    code = exported.graph_module.code
    body = code[code.index("def forward(") :].replace("def forward(self", "def __graph(self", 1)
    results = [s for s in signature.output_specs if s.kind is OutputKind.USER_OUTPUT]
    mutations = [
        (i, s.target) for i, s in enumerate(signature.output_specs) if s.kind is OutputKind.BUFFER_MUTATION and s.target
    ]
    if len(results) + len(mutations) != len(signature.output_specs):
        raise UnsupportedError("a reference that changes its inputs")
    call = ", ".join(map(_passed, arguments))
    lines = [f"def forward({', '.join(['self', *names])}):"]
    lines += filter(None, [unless(modes, names)])
    lines += unpacked(taken.arguments)
    lines.append(unless(f"self.__fits({', '.join(leaves)})", names))
    lines.append(f"    results = self.__graph({call})")
    lines += [f"    {attribute_text(target)}.copy_(results[{i}])" for i, target in mutations]
    first = len(mutations)
    texts = [f"results[{first + i}]" for i in range(len(results))]
    lines.append(f"    return {taken.returned.text(texts, leaves)}")
    methods = [
        "\n".join(lines) + "\n",
        fits_method("__fits", leaves, bindings, assumed),
        textwrap.dedent(body),
        reference_method(task),
    ]
    constants = [f"_CONSTANT_{a.name} = {a.source}" for a in arguments if a.kind is Kind.CONSTANT]
    source = model_new_source(task.source, "\n".join(methods), prelude="\n".join([_HEAD, *constants]))
    return Kernel(source=source, language="python")


def _passed(argument: Argument) -> str:
    match argument.kind:
        case Kind.STATE:
            return argument.source
        case Kind.CONSTANT:
            return f"_CONSTANT_{argument.name}"
    return argument.name
