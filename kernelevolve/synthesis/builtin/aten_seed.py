"""A first kernel for references that the traced form cannot express: the exported ATen graph, as readable Python.

No faster than the reference as such; it is what a search with other operators starts from, and it is always there.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import torch
from torch.export.graph_signature import InputKind, OutputKind

from kernelevolve.core.kernel import Kernel
from kernelevolve.core.task import Task
from kernelevolve.synthesis.builtin.model_class import model_new_source
from kernelevolve.synthesis.traced.builder import UnsupportedError
from kernelevolve.synthesis.traced.trace import export_program


def aten_kernel(task: Task, model: torch.nn.Module, inputs: Sequence[Any]) -> Kernel:
    """The graph of `model` as the forward of `ModelNew`. Raises UnsupportedError where torch.export has no graph of it."""
    exported = export_program(model, inputs, table={})
    signature = exported.graph_signature
    arguments: list[str] = []
    names: list[str] = []
    for spec in signature.input_specs:
        if spec.kind is InputKind.USER_INPUT:
            names.append(spec.arg.name)
            arguments.append(spec.arg.name)
        elif spec.kind in (InputKind.PARAMETER, InputKind.BUFFER):
            arguments.append(
                f"self.{'get_parameter' if spec.kind is InputKind.PARAMETER else 'get_buffer'}({spec.target!r})"
            )
        else:
            raise UnsupportedError(f"an input of kind {spec.kind.name.lower()}")
    code = exported.graph_module.code
    body = code[code.index("def forward(") :].replace("def forward(self", "def _graph(self", 1)
    results = [s for s in signature.output_specs if s.kind is OutputKind.USER_OUTPUT]
    mutations = [
        (i, s.target) for i, s in enumerate(signature.output_specs) if s.kind is OutputKind.BUFFER_MUTATION and s.target
    ]
    if len(results) + len(mutations) != len(signature.output_specs):
        raise UnsupportedError("a reference that changes its inputs")
    out_spec = exported.call_spec.out_spec
    single = out_spec is None or out_spec.is_leaf()
    lines = [f"def forward(self, {', '.join(names)}):", f"    results = self._graph({', '.join(arguments)})"]
    lines += [f"    self.get_buffer({target!r}).copy_(results[{i}])" for i, target in mutations]
    first = len(mutations)
    lines.append(f"    return results[{first}]" if single else f"    return results[{first}:]")
    forward = "\n".join(lines) + "\n\n" + textwrap.dedent(body)
    source = model_new_source(
        task.source, forward, prelude="import torch\nfrom torch import device\n\ninf, nan = float('inf'), float('nan')"
    )
    return Kernel(source=source, language="python")
