"""The device `auto`: the best one that is there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from devices.base import (
    UNKNOWN_BANDWIDTH,
    AbsentDeviceError,
    Capability,
    Device,
    Instance,
    Placed,
    Resources,
    Toolchain,
)
from devices.cpu import CpuDevice
from devices.registry import all_devices, further_devices
from kernelevolve.core.errors import UserError
from kernelevolve.core.target import Target


class AutoDevice(Device):
    """The accelerator with the widest memory, or else the processor. `placed` chooses it; nothing else is asked of this class."""

    name = "auto"
    vendor = "any"

    def placed(self, machines: Sequence[Resources] | None = None, workers: int = 1) -> Placed:
        where = "this machine" if machines is None else "the cluster"
        best: tuple[float, Device] | None = None
        refused = ""
        for device in _accelerators():
            try:
                bandwidth = device.placed(machines).device.bandwidth(machines)
            except AbsentDeviceError:
                continue
            except UserError as error:
                refused += f"; {device.name} cannot be used: {error}"
                continue
            if bandwidth > 0 and (best is None or bandwidth > best[0]):
                best = bandwidth, device
        if best is None:
            return Placed(CpuDevice(), f"device=auto: cpu, since {where} has no accelerator that can be used{refused}")
        bandwidth, device = best
        placed = device.placed(machines, workers)
        figures = f", {bandwidth / 1e12:g} TB/s" if bandwidth > UNKNOWN_BANDWIDTH else ""
        more = f"; {placed.note}" if placed.note else ""
        return Placed(placed.device, f"device=auto: {device.name}, the best of {where}{figures}{more}{refused}")

    def offered(self) -> Resources:
        return {name: amount for device in _accelerators() for name, amount in device.offered().items()}

    def capability(self) -> Capability:
        chosen = self.placed()
        return chosen.device.capability().model_copy(update={"name": self.name, "detail": chosen.note})

    def target(self) -> Target:
        return self.placed().device.target()

    def toolchains(self) -> Mapping[str, Toolchain]:
        return self.placed().device.toolchains()

    def resources(self) -> Mapping[str, object]:
        return self.placed().device.resources()

    def instance(self) -> Instance:
        return self.placed().device.instance()


def _accelerators() -> Iterator[Device]:
    """Yield all devices but the processor."""
    yield from (device for device in all_devices() if device.name != CpuDevice.name)
    yield from (device for device in further_devices() if isinstance(device, Device))
