"""The capabilities of this machine, and what to install for those that are missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from devices.base import Capability, Device
from devices.registry import all_devices, further_devices
from evaluators.sandbox.isolation import isolation


def examine() -> Mapping[str, tuple[Capability, ...]]:
    """Return the capabilities by section: device, toolchain, isolation. Nothing is run on a device."""
    further = tuple(further_devices())
    devices = (*all_devices(), *(found for found in further if isinstance(found, Device)))
    broken = (found for found in further if isinstance(found, Capability))
    return {
        "device": (*(device.capability() for device in devices), *broken),
        "toolchain": tuple(capability for device in devices for capability in _toolchains(device)),
        "isolation": isolation(),
    }


def _toolchains(device: Device) -> Iterator[Capability]:
    """Yield a device's toolchains, named `device/language` since two devices may compile one language differently."""
    for language, toolchain in device.toolchains().items():
        yield toolchain.capability().model_copy(update={"name": f"{device.name}/{language}"})
