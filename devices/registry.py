"""The kinds of hardware that there are, by name."""

from __future__ import annotations

from devices.base import Device
from devices.cpu import CpuDevice
from kernelevolve.core.errors import UserError


def all_devices() -> tuple[Device, ...]:
    """Every kind of hardware that this package knows, whether this machine has it or not."""
    return (CpuDevice(),)


def get_device(name: str) -> Device:
    """The device of that name. Raises UserError with the names that there are."""
    devices = {device.name: device for device in all_devices()}
    if name not in devices:
        raise UserError(f"no device is named {name!r}; there are: {', '.join(sorted(devices))}")
    return devices[name]
