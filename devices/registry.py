"""The registry of devices: those of this package, and those that other packages name by entry points."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points

from devices.amd.device import AmdDevice
from devices.base import Capability, Device
from devices.cpu import CpuDevice
from devices.nvidia.device import NvidiaDevice
from kernelevolve.core.errors import UserError

GROUP = "kernelevolve.devices"
"""The group of entry points whose values are classes of devices, `module:Class`, and whose names are theirs."""


def all_devices() -> tuple[Device, ...]:
    """Return every kind of hardware that this package supports, whether this machine has it or not."""
    return (CpuDevice(), NvidiaDevice(), AmdDevice())


def further_devices() -> Iterator[Device | Capability]:
    """Yield the devices of other packages. One that cannot be loaded is a capability that says why."""
    for entry in further_entries():
        try:
            yield load_device(entry)
        except UserError as error:
            yield Capability(name=entry.name, available=False, detail=str(error))


def further_entries() -> list[EntryPoint]:
    """Return the entry points of the devices of other packages."""
    return sorted(entry_points(group=GROUP), key=lambda entry: entry.name)


def load_device(entry: EntryPoint) -> Device:
    """Return the device of an entry point. Raises UserError if its package is at fault."""
    package = entry.dist.name if entry.dist else entry.module
    where = f"the device {entry.name} of the package {package}"
    if entry.name in {device.name for device in all_devices()}:
        raise UserError(f"{where} has the name of a device of this package: rename its entry point")
    try:
        device = entry.load()()
    except (ImportError, AttributeError, TypeError, ValueError, OSError, RuntimeError, UserError) as error:
        raise UserError(
            f"{where} cannot be loaded ({type(error).__name__}: {error}): upgrade or remove the package"
        ) from error
    if not isinstance(device, Device) or device.name != entry.name:
        raise UserError(f"{where} is no `Device` with that name: its entry point must be {entry.name} = MODULE:CLASS")
    return device
