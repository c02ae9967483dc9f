"""Access to the elements of a result in parts, wherever it lies: in this process, in a mapped file or in a runner."""

from __future__ import annotations

from typing import Protocol

import torch


class Elements(Protocol):
    """The elements of a tensor that need not be in this process's memory as a whole."""

    shape: tuple[int, ...]
    """The shape of the tensor."""
    dtype: torch.dtype
    """The dtype of the parts."""
    numel: int
    """The number of elements."""

    def part(self, start: int, stop: int) -> torch.Tensor:
        """Return elements [start, stop), in the order of indices, as a one-dimensional tensor.

        The tensor is valid until the next call, which may reuse its memory.
        """
        ...


class TensorElements:
    """The elements of a tensor of this process, which may be a mapped file."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.shape = tuple(tensor.shape)
        self.dtype = tensor.dtype
        self.numel = tensor.numel()
        self._flat = tensor.reshape(-1)

    def part(self, start: int, stop: int) -> torch.Tensor:
        return self._flat[start:stop]


class Float32Elements:
    """The elements of a tensor of an 8-bit floating dtype, converted to float32."""

    dtype = torch.float32

    def __init__(self, narrow: Elements) -> None:
        self.shape, self.numel = narrow.shape, narrow.numel
        self._narrow = narrow

    def part(self, start: int, stop: int) -> torch.Tensor:
        return self._narrow.part(start, stop).float()


def elements_of(result: torch.Tensor | Elements) -> Elements:
    """Return the elements of a tensor; `Elements` are returned unchanged."""
    return TensorElements(result) if isinstance(result, torch.Tensor) else result
