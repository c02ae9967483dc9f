"""Moving of a task's arguments to a device."""

from __future__ import annotations

from typing import Any

import torch

from kernelevolve.tasks.structure import flatten, rebuild


def placed(arguments: list[Any], device: str) -> list[Any]:
    """Return the arguments of a call with their tensors on a type of device. On the CPU they are returned unchanged."""
    if device == "cpu":
        return arguments
    leaves, structure = flatten(arguments)
    moved = [leaf.to(device) if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves]
    found: list[Any] = rebuild(structure, moved)
    return found


def synchronize(device: str) -> None:
    """Wait until a type of device has done what it was told."""
    if device == "cuda":
        torch.cuda.synchronize()
