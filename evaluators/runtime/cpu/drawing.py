"""A task's model and inputs as KernelBench makes them: cast to one precision, inputs drawn anew for each seed.

Runs in a player that holds the reference and nothing else.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from evaluators.runtime import tensors
from kernelevolve.tasks.loading import LoadedTask, build_model, draw_inputs, flat_inputs


class Drawer:
    """Of one task; `precision`: the floating dtype that everything floating is cast to."""

    def __init__(self, loaded: LoadedTask, precision: torch.dtype) -> None:
        self._loaded = loaded
        self._precision = precision

    def model(self) -> nn.Module:
        """The reference. Raises UserError where its constructor raises."""
        return build_model(self._loaded, self._loaded.task.seed).to(dtype=self._precision)

    def draw(self, seed: int, folder: Path) -> dict[str, Any]:
        """The fields of `Drawn`; inputs lie in `folder`, over those that were drawn before. The generator is left at `seed`.

        Raises UserError where the task's functions raise, or inputs cannot be given to a kernel.
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
