"""The functions of the CUDA driver that processes use to share device memory.

The functions are looked up before foreign code is loaded, since that may replace those of torch. All of them need the context that
torch creates (`torch.cuda.init`, and an allocation).
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import torch

_HANDLE_BYTES = 64
_LAZY_PEER_ACCESS = 1
_BUFFER_ID = 7
"""The attribute of a pointer that identifies its allocation, CU_POINTER_ATTRIBUTE_BUFFER_ID. No two allocations of a process share it."""


class DriverError(RuntimeError):
    """A call of the driver failed."""


class _Handle(ctypes.Structure):
    _fields_ = (("bytes", ctypes.c_char * _HANDLE_BYTES),)


@dataclass(frozen=True)
class Allocation:
    """An allocation of device memory of this process."""

    identity: int
    """The number of the allocation, which no later one has."""
    base: int
    """The address of its first byte."""
    size: int
    """Its bytes."""


class Driver:
    """The driver's functions."""

    def __init__(self) -> None:
        """Look the functions up. Raises OSError if there is no driver."""
        library = ctypes.CDLL("libcuda.so.1")
        self._library = library
        self._open = library.cuIpcOpenMemHandle_v2
        self._open.argtypes = [ctypes.POINTER(ctypes.c_uint64), _Handle, ctypes.c_uint]
        self._synchronize = library.cuCtxSynchronize
        self._upload = library.cuMemcpyHtoD_v2
        self._upload.argtypes = [ctypes.c_uint64, ctypes.c_void_p, ctypes.c_size_t]
        self._range = library.cuMemGetAddressRange_v2
        self._range.argtypes = [ctypes.POINTER(ctypes.c_uint64), ctypes.POINTER(ctypes.c_size_t), ctypes.c_uint64]
        self._attribute = library.cuPointerGetAttribute
        self._attribute.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint64]

    def synchronize(self) -> None:
        """Wait until all work of this process's context is done, on every stream. Raises DriverError with what went wrong in it."""
        self._check(self._synchronize(), "waiting for the device")

    def allocate(self, size: int) -> int:
        """Return the address of a new allocation of device memory of `size` bytes. Raises DriverError if there is no room."""
        address = ctypes.c_uint64()
        self._check(
            self._library.cuMemAlloc_v2(ctypes.byref(address), ctypes.c_size_t(size)), f"allocating {size} bytes"
        )
        return address.value

    def free(self, address: int) -> None:
        """Free an allocation of `allocate`."""
        self._check(self._library.cuMemFree_v2(ctypes.c_uint64(address)), "freeing device memory")

    def copy_to_device(self, address: int, source: int, size: int) -> None:
        """Copy `size` bytes of this process's memory at `source` to device memory, and wait for it."""
        self._check(self._upload(address, source, size), "copying to the device")

    def fill(self, address: int, size: int) -> None:
        """Write zeros to device memory."""
        self._check(self._library.cuMemsetD8_v2(ctypes.c_uint64(address), 0, ctypes.c_size_t(size)), "writing zeros")

    def allocation_of(self, pointer: int) -> Allocation:
        """Return the allocation that a pointer points into. Raises DriverError if it is no pointer to device memory."""
        base, size, identity = ctypes.c_uint64(), ctypes.c_size_t(), ctypes.c_uint64()
        self._check(self._range(ctypes.byref(base), ctypes.byref(size), pointer), "looking up a pointer")
        self._check(self._attribute(ctypes.byref(identity), _BUFFER_ID, pointer), "looking up a pointer")
        return Allocation(identity.value, base.value, size.value)

    def export(self, allocation: Allocation) -> str:
        """Return a handle by which another process opens an allocation, in hexadecimal. Raises DriverError if it cannot be shared."""
        handle = _Handle()
        self._check(
            self._library.cuIpcGetMemHandle(ctypes.byref(handle), ctypes.c_uint64(allocation.base)), "sharing memory"
        )
        return bytes(bytearray(handle)).hex()

    def open(self, handle: str) -> int:
        """Return the address at which this process sees an allocation that another one exported. Raises DriverError or ValueError."""
        raw = bytes.fromhex(handle)
        if len(raw) != _HANDLE_BYTES:
            raise ValueError(f"a handle of {len(raw)} bytes")
        address = ctypes.c_uint64()
        self._check(
            self._open(ctypes.byref(address), _Handle.from_buffer_copy(raw), _LAZY_PEER_ACCESS), "opening shared memory"
        )
        return address.value

    def close(self, address: int) -> None:
        """Close an allocation of `open`."""
        self._check(self._library.cuIpcCloseMemHandle(ctypes.c_uint64(address)), "closing shared memory")

    def _check(self, code: int, doing: str) -> None:
        if code:
            text = ctypes.c_char_p()
            self._library.cuGetErrorString(code, ctypes.byref(text))
            raise DriverError(f"{doing}: {(text.value or b'').decode()} (CUDA error {code})")


class _Memory:
    """Device memory as torch takes it over without copying."""

    def __init__(self, address: int, size: int) -> None:
        self.__cuda_array_interface__: dict[str, Any] = {
            "shape": (size,),
            "typestr": "|u1",
            "data": (address, False),
            "version": 3,
            "strides": None,
        }


def memory_at(address: int, size: int) -> torch.Tensor:
    """Return device memory as a tensor of bytes, of shape (size,). The memory must stay allocated while the tensor is in use."""
    found: torch.Tensor = torch.as_tensor(_Memory(address, size), device="cuda")
    return found
