"""A model that takes flattened arguments, for code that supports only tensors and plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from kernelevolve.tasks.structure import Structure, rebuild_arguments


def taking_leaves(model: nn.Module, structure: Structure, classes: Mapping[str, Any]) -> nn.Module:
    """Change a model's forward to take the leaves of its arguments one by one.

    Args:
        model: The model. It is unchanged if each argument is a leaf.
        structure: The structure of the list of arguments.
        classes: The names of the task's module, for named tuples.

    Returns:
        The same model.
    """
    if not structure.flat:
        forward = model.forward

        def flat(*leaves: Any) -> Any:
            return forward(*rebuild_arguments(structure, leaves, classes))

        model.forward = flat
    return model
