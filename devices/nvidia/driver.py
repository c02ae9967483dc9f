"""What CUDA's driver library says about the devices that a process sees.

`python -m devices.nvidia.driver` prints it as JSON, in a process of its own: initialising the driver makes CUDA unusable in later forks
of a process. No context is created, so a device's memory and its clocks are left alone.
"""

from __future__ import annotations

import ctypes
import functools
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path

from devices.nvidia.nvml import Gpu, Machine
from kernelevolve.core.child_process import module_command, python_path
from kernelevolve.core.record import Record
from kernelevolve.core.target import Limit

LIBRARY = "libcuda.so.1"
"""The name of the library."""
SECONDS = 60.0
"""The seconds that the process may take. A driver that loads its modules first takes some."""
_ATTRIBUTES = {
    Limit.THREADS_PER_BLOCK: 1,
    Limit.WARP_SIZE: 10,
    Limit.UNITS: 16,
    Limit.L2_BYTES: 38,
    Limit.THREADS_PER_UNIT: 39,
    Limit.SHARED_BYTES_PER_UNIT: 81,
    Limit.REGISTERS_PER_UNIT: 82,
    Limit.SHARED_BYTES_PER_BLOCK: 97,
    Limit.BLOCKS_PER_UNIT: 106,
}
"""The numbers of `CUdevice_attribute`, from CUDA Driver API, "Data types used by CUDA driver"."""
_CLOCK_KILOHERTZ, _MAJOR, _MINOR = 13, 75, 76


class DriverDevice(Record):
    """One device as the driver describes it."""

    gpu: Gpu
    limits: Mapping[Limit, float]


class DriverView(Record):
    """The devices that a process sees, or why it sees none."""

    cuda: tuple[int, int] = (0, 0)
    devices: tuple[DriverDevice, ...] = ()
    error: str = ""

    def machine(self) -> Machine:
        """Return the GPUs as NVML would, where NVML is missing. The version of the driver is unknown."""
        return Machine(driver="", cuda=self.cuda, gpus=tuple(device.gpu for device in self.devices))


@functools.lru_cache(maxsize=64)
def view(visible: str | None = None) -> DriverView:
    """Ask the driver in a process of its own.

    Args:
        visible: The value of CUDA_VISIBLE_DEVICES for it, such as the UUID of a GPU, or None for all GPUs.
    """
    environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    environment |= {"PYTHONPATH": python_path(), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    if visible is not None:
        environment["CUDA_VISIBLE_DEVICES"] = visible
    try:
        done = subprocess.run(
            module_command("devices.nvidia.driver"),
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired:
        return DriverView(error=f"CUDA's driver does not answer within {SECONDS:.0f} s")
    if done.returncode:
        return DriverView(error=(done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1])
    return DriverView.model_validate_json(done.stdout)


def look(library: str = LIBRARY) -> DriverView:
    """Return what the driver says to this process, which must not use CUDA afterwards in a fork."""
    try:
        cuda = ctypes.CDLL(library)
    except OSError:
        return DriverView(error=f"{Path(library).name} is not there")
    version, count = ctypes.c_int(), ctypes.c_int()
    try:
        _checked(cuda, cuda.cuInit(0))
        _checked(cuda, cuda.cuDriverGetVersion(ctypes.byref(version)))
        _checked(cuda, cuda.cuDeviceGetCount(ctypes.byref(count)))
        devices = tuple(_device(cuda, ordinal) for ordinal in range(count.value))
    except OSError as error:
        return DriverView(error=str(error))
    return DriverView(cuda=(version.value // 1000, version.value % 1000 // 10), devices=devices)


def _device(cuda: ctypes.CDLL, ordinal: int) -> DriverDevice:
    device, name, identity, memory = (
        ctypes.c_int(),
        ctypes.create_string_buffer(96),
        (ctypes.c_ubyte * 16)(),
        ctypes.c_size_t(),
    )
    _checked(cuda, cuda.cuDeviceGet(ctypes.byref(device), ordinal))
    _checked(cuda, cuda.cuDeviceGetName(name, 96, device))
    _checked(cuda, cuda.cuDeviceGetUuid(identity, device))
    _checked(cuda, cuda.cuDeviceTotalMem_v2(ctypes.byref(memory), device))
    limits = {limit: _attribute(cuda, number, device) for limit, number in _ATTRIBUTES.items()}
    clock = _attribute(cuda, _CLOCK_KILOHERTZ, device)
    gpu = Gpu(
        uuid=f"GPU-{uuid.UUID(bytes=bytes(identity))}",
        name=name.value.decode(errors="replace"),
        arch=f"sm_{_attribute(cuda, _MAJOR, device)}{_attribute(cuda, _MINOR, device)}",
        memory_bytes=memory.value,
        clock_hertz=clock * 1e3 or None,
    )
    return DriverDevice(gpu=gpu, limits={limit: value for limit, value in limits.items() if value > 0})


def _attribute(cuda: ctypes.CDLL, number: int, device: ctypes.c_int) -> int:
    """Return an attribute, or 0 if this driver does not know it."""
    value = ctypes.c_int()
    return 0 if cuda.cuDeviceGetAttribute(ctypes.byref(value), number, device) else value.value


def _checked(cuda: ctypes.CDLL, code: int) -> None:
    """Raise OSError with the driver's words for an error."""
    if code:
        words = ctypes.c_char_p()
        cuda.cuGetErrorString(code, ctypes.byref(words))
        raise OSError(f"CUDA's driver reports error {code}: {(words.value or b'unknown').decode(errors='replace')}")


if __name__ == "__main__":
    json.dump(look().model_dump(mode="json"), sys.stdout)
