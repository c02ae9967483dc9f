"""Reading of the memory of another process without its cooperation, to get the outputs of a runner process.

It uses process_vm_readv(2), which works on descendants of this process that belong to the same user. The other process is not trusted.
Every address that it reported may be wrong, so a failure to read counts as a failure of that process.
"""

from __future__ import annotations

import ctypes
import os

import torch

from evaluators.runtime.tensors import TensorDescription, span_of
from kernelevolve.core.errors import UserError
from kernelevolve.tasks.tensor_kinds import DTYPES

_MOST_BYTES = 1 << 30
"""The most bytes that one system call reads."""
_EPERM = 1


class UnreadableError(Exception):
    """The memory that was to be read does not exist."""


class _Span(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


_LIBC = ctypes.CDLL(None, use_errno=True)


def read_bytes(pid: int, address: int, into: torch.Tensor) -> None:
    """Fill a tensor from the memory of a process.

    Args:
        pid: The process.
        address: The address in the process.
        into: The contiguous tensor to fill.

    Raises:
        UnreadableError: Nothing is mapped there.
        UserError: This machine forbids reading the memory of other processes.
    """
    total = into.numel() * into.element_size()
    done = 0
    if not 0 <= address < 1 << 63:
        raise UnreadableError(f"not an address: {address}")
    while done < total:
        length = min(total - done, _MOST_BYTES)
        local = _Span(into.data_ptr() + done, length)
        remote = _Span(address + done, length)
        count = _LIBC.process_vm_readv(pid, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0)
        if count <= 0:
            number = ctypes.get_errno()
            if number == _EPERM:
                raise UserError(
                    "this machine forbids reading the memory of child processes, by which results are checked: "
                    "allow it (docker run --cap-add SYS_PTRACE)"
                )
            raise UnreadableError(os.strerror(number) if count < 0 else "nothing could be read")
        done += count


def read_tensor(pid: int, tensor: TensorDescription, address: int | None = None) -> torch.Tensor:
    """Read a tensor from a process.

    Args:
        pid: The process.
        tensor: The description of the tensor.
        address: The address of the tensor, or None for the one in its description.

    Returns:
        A copy with the described shape and strides. Raises as `read_bytes` does.
    """
    dtype = DTYPES[tensor.dtype]
    flat = torch.empty(span_of(tensor.shape, tensor.stride), dtype=dtype)
    read_bytes(pid, tensor.pointer if address is None else address, flat)
    return flat.as_strided(tensor.shape, tensor.stride)


class ProcessElements:
    """The elements of a contiguous tensor in the memory of a stopped process."""

    def __init__(self, pid: int, tensor: TensorDescription, address: int) -> None:
        self.shape = tensor.shape
        self.dtype = DTYPES[tensor.dtype]
        self.numel = tensor.numel
        self._pid = pid
        self._address = address
        self._buffer = torch.empty(0, dtype=self.dtype)

    def part(self, start: int, stop: int) -> torch.Tensor:
        """Read elements [start, stop). Raises UnreadableError if nothing is mapped there."""
        stop = min(stop, self.numel)
        if self._buffer.numel() < stop - start:
            self._buffer = torch.empty(stop - start, dtype=self.dtype)
        piece = self._buffer[: stop - start]
        read_bytes(self._pid, self._address + start * self.dtype.itemsize, piece)
        return piece
