"""The GPUs of this machine, by NVIDIA's management library (NVML). Neither CUDA nor a context on a device is needed for that.

NVML numbers GPUs by their place on the bus. CUDA may number them by speed; therefore GPUs are named by their UUIDs everywhere else.
The library comes with the driver and is called directly: the Python package for it wraps the same calls, and is not always there.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kernelevolve.core.record import Record

LIBRARY = "libnvidia-ml.so.1"
"""The name of the library."""
DRIVER_FILE = Path("/dev/nvidiactl")
"""The file that exists where the driver is loaded."""
_TEXT = 96
"""The longest text that NVML returns, in bytes."""
_NOT_SUPPORTED = 3
_SM_CLOCK = 1


class Gpu(Record):
    """One GPU of this machine."""

    uuid: str
    """The identifier that is the same on every boot and in every container: `GPU-...`."""
    name: str
    """The name of the model: `NVIDIA H200`."""
    arch: str
    """The architecture: `sm_90`."""
    memory_bytes: int
    clock_hertz: float | None = None
    """The highest clock of the SMs, or None if it is unknown."""
    partitioned: bool = False
    """Whether it is divided into slices (MIG)."""


class Machine(Record):
    """The GPUs of this machine and their driver."""

    driver: str
    """The version of the driver; empty if it is unknown."""
    cuda: tuple[int, int]
    """The newest version of CUDA that the driver serves."""
    gpus: tuple[Gpu, ...]
    """The GPUs in NVML's order."""


class NvmlError(Exception):
    """NVML is not there or reports an error. The message is one line."""


class NvmlMissingError(NvmlError):
    """This machine has no NVML."""


class _Memory(ctypes.Structure):
    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


def machine(library: str | None = None) -> Machine:
    """Return the GPUs of this machine and their driver.

    Args:
        library: The path of NVML, or None for `LIBRARY`.

    Raises:
        NvmlMissingError: There is no NVML.
        NvmlError: NVML reports an error.
    """
    with _opened(library or LIBRARY) as nvml:
        count, version = ctypes.c_uint(), ctypes.c_int()
        nvml.call("nvmlDeviceGetCount_v2", ctypes.byref(count))
        nvml.call("nvmlSystemGetCudaDriverVersion_v2", ctypes.byref(version))
        gpus = tuple(_gpu(nvml, index) for index in range(count.value))
        cuda = version.value // 1000, version.value % 1000 // 10
        return Machine(driver=nvml.text("nvmlSystemGetDriverVersion"), cuda=cuda, gpus=gpus)


class _Nvml:
    """Calls of the library, whose errors raise NvmlError."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        library.nvmlErrorString.restype = ctypes.c_char_p

    def call(self, name: str, *arguments: object) -> None:
        code = self.code(name, *arguments)
        if code:
            reason = self._library.nvmlErrorString(code) or b""
            raise NvmlError(f"{reason.decode(errors='replace') or 'unknown error'} ({name}: {code})")

    def code(self, name: str, *arguments: object) -> int:
        """Return the result of a call: 0 for success."""
        try:
            function = getattr(self._library, name)
        except AttributeError as error:
            raise NvmlError(f"the driver's NVML is too old: it has no {name}") from error
        return int(function(*arguments))

    def text(self, name: str, *arguments: object) -> str:
        """Return the text that a call writes."""
        buffer = ctypes.create_string_buffer(_TEXT)
        self.call(name, *arguments, buffer, ctypes.c_uint(_TEXT))
        return buffer.value.decode(errors="replace")


@contextmanager
def _opened(path: str) -> Iterator[_Nvml]:
    try:
        nvml = _Nvml(ctypes.CDLL(path))
    except OSError as error:
        raise NvmlMissingError(f"{Path(path).name} is not there") from error
    nvml.call("nvmlInit_v2")
    try:
        yield nvml
    finally:
        nvml.call("nvmlShutdown")


def _gpu(nvml: _Nvml, index: int) -> Gpu:
    handle = ctypes.c_void_p()
    nvml.call("nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(index), ctypes.byref(handle))
    major, minor, memory = ctypes.c_int(), ctypes.c_int(), _Memory()
    nvml.call("nvmlDeviceGetCudaComputeCapability", handle, ctypes.byref(major), ctypes.byref(minor))
    nvml.call("nvmlDeviceGetMemoryInfo", handle, ctypes.byref(memory))
    clock, current, pending = ctypes.c_uint(), ctypes.c_uint(), ctypes.c_uint()
    has_clock = nvml.code("nvmlDeviceGetMaxClockInfo", handle, ctypes.c_uint(_SM_CLOCK), ctypes.byref(clock)) == 0
    has_mode = nvml.code("nvmlDeviceGetMigMode", handle, ctypes.byref(current), ctypes.byref(pending))
    if has_mode not in (0, _NOT_SUPPORTED):
        raise NvmlError(f"the mode of GPU {index} is unknown (nvmlDeviceGetMigMode: {has_mode})")
    return Gpu(
        uuid=nvml.text("nvmlDeviceGetUUID", handle),
        name=nvml.text("nvmlDeviceGetName", handle),
        arch=f"sm_{major.value}{minor.value}",
        memory_bytes=memory.total,
        clock_hertz=clock.value * 1e6 if has_clock and clock.value else None,
        partitioned=has_mode == 0 and current.value == 1,
    )
