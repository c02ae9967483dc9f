"""The kinds of hardware that there are."""

from __future__ import annotations

from devices.base import Device
from devices.cpu import CpuDevice


def all_devices() -> tuple[Device, ...]:
    """Every kind of hardware that this package knows, whether this machine has it or not."""
    return (CpuDevice(),)
