"""What this machine has, and what to install for the rest."""

from __future__ import annotations

from collections.abc import Mapping

from devices.base import Capability
from devices.registry import all_devices
from evaluators.sandbox.isolation import isolation


def examine() -> Mapping[str, tuple[Capability, ...]]:
    """Rows by section: devices, toolchains, isolation. Starts nothing."""
    devices = all_devices()
    toolchains = {name: t for d in devices for name, t in d.toolchains().items()}
    return {
        "device": tuple(d.capability() for d in devices),
        "toolchain": tuple(t.capability() for t in toolchains.values()),
        "isolation": isolation(),
    }
