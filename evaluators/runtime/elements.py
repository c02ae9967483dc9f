"""The elements of a result, taken some at a time from wherever it lies: in this process, in a mapped file, in a runner."""

from __future__ import annotations

from typing import Protocol

import torch


class Elements(Protocol):
    """A tensor that need not be in memory as a whole."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    numel: int

    def part(self, start: int, stop: int) -> torch.Tensor:
        """Elements [start, stop) in the order of indices, one-dimensional. Good until the next call: it may be the same memory then."""
        ...


class Held:
    """A tensor of this process, mapped files included."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.shape = tuple(tensor.shape)
        self.dtype = tensor.dtype
        self.numel = tensor.numel()
        self._flat = tensor.reshape(-1)

    def part(self, start: int, stop: int) -> torch.Tensor:
        return self._flat[start:stop]


class Widened:
    """Elements of eight bits with a fraction, as float32."""

    dtype = torch.float32

    def __init__(self, narrow: Elements) -> None:
        self.shape, self.numel = narrow.shape, narrow.numel
        self._narrow = narrow

    def part(self, start: int, stop: int) -> torch.Tensor:
        return self._narrow.part(start, stop).float()


def elements_of(result: torch.Tensor | Elements) -> Elements:
    return Held(result) if isinstance(result, torch.Tensor) else result
