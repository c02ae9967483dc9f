"""The registry of devices."""

from __future__ import annotations

from devices.base import Device
from devices.cpu import CpuDevice


def all_devices() -> tuple[Device, ...]:
    """Return every kind of hardware that this package supports, whether this machine has it or not."""
    return (CpuDevice(),)
