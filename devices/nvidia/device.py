"""The device `nvidia`."""

from __future__ import annotations

import os
from collections.abc import Sequence

from devices.accelerator import Accelerator, Found, is_nvidia, listed
from devices.base import AbsentDeviceError, Instance
from devices.datasheet import Datasheet
from devices.nvidia import nvml
from devices.nvidia.driver import view
from devices.nvidia.models import ARCHITECTURES, COMMON, SHEETS, sheet_of
from devices.nvidia.nvml import Gpu, Machine, NvmlError, NvmlMissingError
from devices.torch_build import TorchBuild, torch_build
from kernelevolve.core.errors import UserError
from kernelevolve.core.target import Limit

VISIBLE = "CUDA_VISIBLE_DEVICES"
"""The variable by which Ray, and people, choose the GPUs of a process."""
OLDEST_DRIVERS = {12: "525.60.13", 13: "580.65.06"}
"""The oldest driver for Linux that serves a major version of CUDA, from the CUDA Compatibility guide."""
_COMPILE_ONLY = "device.arch=sm_90 compiles without one"


class NvidiaDevice(Accelerator):
    """The NVIDIA GPU of this machine. This process never creates a context on it, nor initialises CUDA."""

    name = "nvidia"
    vendor = "nvidia"
    unit = "SM"
    architectures = ARCHITECTURES
    common = COMMON
    sheets = SHEETS

    def found(self) -> Sequence[Found]:
        machine = _machine()
        old = outdated(machine, torch_build())
        if not machine.gpus:
            raise AbsentDeviceError(f"the NVIDIA driver {machine.driver} finds no GPU on this machine: {_COMPILE_ONLY}")
        visible = os.environ.get(VISIBLE)
        if visible is not None and visible.startswith("MIG-"):
            raise UserError(
                f"{VISIBLE} names a slice of a GPU (MIG), whose times depend on the other slices: give the whole GPU"
            )
        places = listed(visible, [gpu.uuid for gpu in machine.gpus])
        if not places:
            raise AbsentDeviceError(f"{VISIBLE}={visible} hides all NVIDIA GPUs of this machine: unset it, or name one")
        return [_found(machine.gpus[place], machine, old) for place in places]

    def asked(self, device: Found) -> Found:
        uuid = device.instance.environment[VISIBLE]
        seen = view(uuid)
        limits = [found.limits for found in seen.devices if found.gpu.uuid == uuid]
        if not limits:
            raise UserError(
                f"CUDA cannot be used on GPU {uuid} ({seen.error or 'the driver does not show it'}): `nvidia-smi` says more"
            )
        return device.model_copy(update={"limits": {**device.limits, **limits[0]}})

    def sheet(self, device: Found) -> Datasheet | None:
        return sheet_of(device.model, device.memory_bytes)

    def is_kind(self, kind: str) -> bool:
        return is_nvidia(kind)


def outdated(machine: Machine, build: TorchBuild) -> str:
    """Return why torch cannot use the GPUs of a machine, with the remedy, or an empty text."""
    driver = f"the NVIDIA driver {machine.driver}".strip()
    oldest = min(OLDEST_DRIVERS)
    if machine.cuda[0] < oldest:
        return (
            f"{driver} serves CUDA {_dotted(machine.cuda)} and is too old: install driver {OLDEST_DRIVERS[oldest]} "
            f"or newer, which serves CUDA {oldest}"
        )
    if not build.version:
        return "there is no torch: install a build of torch for CUDA"
    if build.cuda is None:
        return f"torch {build.version} was built without CUDA: install a build for CUDA {machine.cuda[0]} (pytorch.org lists them)"
    if build.cuda[0] > machine.cuda[0]:
        newest = OLDEST_DRIVERS.get(build.cuda[0], "for it")
        return (
            f"{driver} serves CUDA {_dotted(machine.cuda)}, and torch {build.version} was built for CUDA "
            f"{_dotted(build.cuda)}: install driver {newest} or newer, or a build of torch for CUDA {machine.cuda[0]}"
        )
    return ""


def _machine() -> Machine:
    """Return the GPUs of this machine. Raises UserError that says what is missing."""
    try:
        return nvml.machine()
    except NvmlMissingError as error:
        if not nvml.DRIVER_FILE.exists():
            raise AbsentDeviceError(
                f"this machine has no NVIDIA driver ({error}): install it where a GPU is; {_COMPILE_ONLY}"
            ) from error
        # A container can have the driver for computing without the one for managing.
        seen = view()
        if seen.error:
            raise UserError(
                f"neither NVML nor CUDA's driver can be asked for the GPUs ({error}; {seen.error}): in a container, "
                "set NVIDIA_DRIVER_CAPABILITIES=compute,utility"
            ) from error
        return seen.machine()
    except NvmlError as error:
        raise UserError(
            f"the NVIDIA driver reports: {error}; if `nvidia-smi` fails too, reload or reinstall the driver"
        ) from error


def _found(gpu: Gpu, machine: Machine, problem: str) -> Found:
    if gpu.partitioned:
        problem = problem or (
            f"GPU {gpu.uuid} is divided into slices (MIG), whose times depend on each other: switch MIG off for it"
        )
    limits: dict[Limit, float] = {Limit.MEMORY_BYTES: gpu.memory_bytes}
    if gpu.clock_hertz is not None:
        limits[Limit.CLOCK_HERTZ] = gpu.clock_hertz
    versions = {"driver": machine.driver, "cuda": _dotted(machine.cuda)}
    return Found(
        model=gpu.name,
        arch=gpu.arch,
        memory_bytes=gpu.memory_bytes,
        instance=Instance(lock=f"nvidia-{gpu.uuid}", environment={VISIBLE: gpu.uuid}),
        limits=limits,
        facts={name: value for name, value in versions.items() if value},
        problem=problem,
    )


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))
