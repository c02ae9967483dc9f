"""The file of a task that is made from a call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kernelevolve.tasks.aten.calls import Call, Slot
from kernelevolve.tasks.aten.drawing import helpers


def task_source(
    summary: str, function: str, call: Call, inputs: Sequence[str], variants: Mapping[str, Sequence[str]]
) -> str:
    """Return the text of a task file.

    Args:
        summary: The first line of its docstring.
        function: The expression of the operator.
        call: The call of the operator.
        inputs: The expression of each tensor.
        variants: The same for further inputs, by name.

    Raises:
        UnsupportedError: An argument cannot be written.
    """
    arguments = ", ".join(["self", *(Slot(index).name for index in range(call.slots))])
    used = helpers([*inputs, *(each for expressions in variants.values() for each in expressions)])
    parts = [
        f'"""{summary}"""',
        "import operator\n\nimport torch" if function.startswith("operator.") else "import torch",
        *(f"\n{definition}" for definition in used),
        f"\nclass Model(torch.nn.Module):\n    def forward({arguments}):\n        return {call.text(function)}",
        f"\ndef get_inputs():\n    return {_listed(inputs, 4)}",
    ]
    if variants:
        entries = "".join(f'\n        "{name}": {_listed(each, 8)},' for name, each in variants.items())
        parts.append(f"\ndef get_input_variants():\n    return {{{entries}\n    }}")
    return "\n\n".join(parts) + "\n"


def _listed(expressions: Sequence[str], indent: int) -> str:
    if len(expressions) == 1:
        return f"[{expressions[0]}]"
    inner = "".join(f"\n{' ' * (indent + 4)}{each}," for each in expressions)
    return f"[{inner}\n{' ' * indent}]"
