"""What this machine has, and what to install for the rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from devices.base import Capability, Device
from devices.registry import all_devices
from evaluators.sandbox.isolation import isolation


def examine() -> Mapping[str, tuple[Capability, ...]]:
    """Rows by section: devices, toolchains, isolation. Starts nothing."""
    devices = all_devices()
    toolchains = {capability.name: capability for device in devices for capability in _toolchains(device)}
    return {
        "device": tuple(device.capability() for device in devices),
        "toolchain": tuple(toolchains.values()),
        "isolation": isolation(),
    }


def _toolchains(device: Device) -> Iterator[Capability]:
    """The rows of a device's toolchains, named by device and language: two devices may compile one language in two ways."""
    for language, toolchain in device.toolchains().items():
        yield toolchain.capability().model_copy(update={"name": f"{device.name}/{language}"})
