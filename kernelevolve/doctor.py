"""The capabilities of this machine, and what to install for those that are missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from devices.base import Capability, Device
from devices.registry import all_devices
from evaluators.sandbox.isolation import isolation


def examine() -> Mapping[str, tuple[Capability, ...]]:
    """Return the capabilities by section: device, toolchain, isolation. No process is started on a device."""
    devices = all_devices()
    toolchains = {capability.name: capability for device in devices for capability in _toolchains(device)}
    return {
        "device": tuple(device.capability() for device in devices),
        "toolchain": tuple(toolchains.values()),
        "isolation": isolation(),
    }


def _toolchains(device: Device) -> Iterator[Capability]:
    """Yield a device's toolchains, named `device/language` since two devices may compile one language differently."""
    for language, toolchain in device.toolchains().items():
        yield toolchain.capability().model_copy(update={"name": f"{device.name}/{language}"})
