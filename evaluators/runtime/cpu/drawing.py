"""The model and inputs of a task as KernelBench makes them: cast to one precision, with inputs drawn anew for each seed.

This runs in a runner process that holds only the reference.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from evaluators.runtime import tensors
from kernelevolve.tasks.loading import LoadedTask, build_model, draw_inputs, flat_inputs


class Drawer:
    """Makes the model and draws the inputs of one task."""

    def __init__(self, loaded: LoadedTask, precision: torch.dtype) -> None:
        """`precision` is the floating dtype to which floating parameters and inputs are cast."""
        self._loaded = loaded
        self._precision = precision

    def model(self) -> nn.Module:
        """Build the reference. Raises UserError if its constructor raises."""
        return build_model(self._loaded, self._loaded.task.seed).to(dtype=self._precision)

    def draw(self, seed: int, folder: Path) -> dict[str, Any]:
        """Draw inputs and leave torch's generator seeded with `seed`.

        Args:
            seed: The seed of the inputs.
            folder: The folder to which the inputs are written, over earlier ones.

        Returns:
            The reply to the order: descriptions of the inputs, their nesting, and the encoded arguments of the constructor.

        Raises:
            UserError: The task's functions raise, or the inputs cannot be passed to a kernel.
        """
        leaves, structure = flat_inputs(self._loaded, draw_inputs(self._loaded, seed))
        inputs = [tensors.save(self._cast(value), folder / f"in{i}") for i, value in enumerate(leaves)]
        torch.manual_seed(self._loaded.task.seed)
        try:
            init = [tensors.encode(value) for value in self._loaded.get_init_inputs()]
        except TypeError:
            init = None
        torch.manual_seed(seed)
        return {"drawn": {"inputs": inputs, "structure": structure.model_dump(), "init": init}}

    def _cast(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            return value.to(self._precision)
        return value
