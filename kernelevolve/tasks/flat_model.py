"""A model that takes the leaves of its arguments, for code that knows tensors and plain values only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from kernelevolve.tasks.structure import Structure, rebuild_arguments


def taking_leaves(model: nn.Module, structure: Structure, classes: Mapping[str, Any]) -> nn.Module:
    """The same model, whose forward from now on takes leaves one by one; unchanged where each argument is one.

    `structure`: of the list of arguments; `classes`: the names of the task's module, for named tuples.
    """
    if not structure.flat:
        forward = model.forward

        def flat(*leaves: Any) -> Any:
            return forward(*rebuild_arguments(structure, leaves, classes))

        model.forward = flat
    return model
