"""The elements of a result, taken some at a time from wherever it lies: in this process, in a file that is mapped, in a player."""

from __future__ import annotations

from typing import Protocol

import torch

from evaluators.runtime.cpu.process_memory import read_bytes
from evaluators.runtime.tensors import Described
from kernelevolve.tasks.tensor_kinds import DTYPES


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


class Remote:
    """A contiguous tensor in the memory of a process that stands still."""

    def __init__(self, pid: int, tensor: Described, address: int) -> None:
        self.shape = tensor.shape
        self.dtype = DTYPES[tensor.dtype]
        self.numel = tensor.numel
        self._pid = pid
        self._address = address
        self._buffer = torch.empty(0, dtype=self.dtype)

    def part(self, start: int, stop: int) -> torch.Tensor:
        """Raises UnreadableError where nothing is mapped there."""
        stop = min(stop, self.numel)
        if self._buffer.numel() < stop - start:
            self._buffer = torch.empty(stop - start, dtype=self.dtype)
        piece = self._buffer[: stop - start]
        read_bytes(self._pid, self._address + start * self.dtype.itemsize, piece)
        return piece


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
