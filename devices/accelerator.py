"""What the accelerators of all vendors have in common: settings, compiling without the hardware, and their place in a Ray cluster."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import ClassVar

from devices.base import (
    UNKNOWN_BANDWIDTH,
    AbsentDeviceError,
    Capability,
    Device,
    Instance,
    Placed,
    Resources,
    Toolchain,
    check_room,
)
from devices.ceilings import measured
from devices.datasheet import Architecture, Datasheet, facts_of, limits_of, peaks_of
from devices.toolchains.python import PythonToolchain
from kernelevolve.core.errors import UserError
from kernelevolve.core.record import Record
from kernelevolve.core.target import Ceilings, Limit, Peak, Target

_KIND = "accelerator_type:"
_OTHER_VENDORS = re.compile(r"(AMD-|Intel-|Apple-|MXC\d|M\d(-|$))")
"""Ray's names of kinds of GPUs of other vendors than NVIDIA. Those of NVIDIA are the names of models, such as `H200`."""


def accelerator_toolchains() -> Mapping[str, Toolchain]:
    """Return the toolchains for the languages of accelerators, the preferred one first.

    A further language of accelerators is added here, and nowhere else in `devices/`.
    """
    return {"python": PythonToolchain()}


class Found(Record):
    """One accelerator of this machine."""

    model: str
    """The name of the model."""
    arch: str
    """The architecture."""
    memory_bytes: float
    instance: Instance
    limits: Mapping[Limit, float] = {}
    """What the driver says about it."""
    facts: Mapping[str, str] = {}
    """Facts beside peaks and limits: versions of drivers."""
    problem: str = ""
    """Why no kernel can be measured on it, with the remedy; empty if that is possible."""


@dataclass(frozen=True)
class Accelerator(Device):
    """A kind of accelerator. It is equal to another one with the same settings."""

    arch: str | None = None
    """The architecture to compile for without the hardware, or None for the hardware that is found."""
    accelerator: str | None = None
    """Ray's name of the model to use in a cluster with several, or None for the best."""
    share: float = 1.0
    """The share of a device that a worker asks Ray for. Less than 1 leaves room for a model's engine on the same device."""

    unit: ClassVar[str]
    """The vendor's name of a multiprocessor."""
    architectures: ClassVar[Mapping[str, Architecture]]
    """The architectures that kernels are compiled for, by name."""
    common: ClassVar[Architecture]
    """What holds for all other architectures."""
    sheets: ClassVar[Mapping[str, Datasheet]]
    """The models whose figures are published, by name."""

    def __post_init__(self) -> None:
        if self.arch is not None and self.arch not in self.architectures:
            raise UserError(
                f"device.arch={self.arch}: kernels for {self.name} are compiled for {', '.join(self.architectures)}"
            )
        if not 0 < self.share <= 1:
            raise UserError(f"device.share={self.share:g}: write the share of a device as a number above 0, at most 1")
        if self.arch is not None and self.accelerator is not None:
            raise UserError(
                "device.arch compiles without a device and device.accelerator chooses one: give one of them"
            )

    @abstractmethod
    def found(self) -> Sequence[Found]:
        """Return the devices that this process may use, in their order. Raises UserError that says why there is none."""

    def asked(self, device: Found) -> Found:
        """Return a device with everything that its driver says, which may take a second. Raises UserError if it cannot be used."""
        return device

    @abstractmethod
    def sheet(self, device: Found) -> Datasheet | None:
        """Return the published figures of a device, or None if they are unknown."""

    @abstractmethod
    def is_kind(self, kind: str) -> bool:
        """Return whether one of Ray's names of accelerators means a device of this vendor."""

    def settings(self) -> Mapping[str, object]:
        return {"arch": self.arch, "accelerator": self.accelerator, "share": self.share}

    def capability(self) -> Capability:
        try:
            devices = self.found()
            first = self._best(devices)
        except UserError as error:
            return Capability(name=self.name, available=False, detail=str(error))
        count = f"{len(devices)} devices, the best: " if len(devices) > 1 else ""
        versions = "".join(f", {name} {value}" for name, value in first.facts.items())
        memory = f"{first.memory_bytes / 2**30:.1f} GiB"
        return Capability(
            name=self.name, available=True, detail=f"{count}{first.model}, {first.arch}, {memory}{versions}"
        )

    def target(self) -> Target:
        if self.arch is not None:
            return self._absent(self.arch)
        device = self.asked(self._best(self.found()))
        sheet = self.sheet(device)
        architecture = self.architectures.get(device.arch, self.common)
        peaks, limits = peaks_of(sheet), limits_of(architecture, sheet, device.limits)
        facts = {"model": device.model, "arch": device.arch, **facts_of(peaks, limits, self.unit), **device.facts}
        return self._target(device.arch, present=True, facts=facts).model_copy(
            update={"peaks": peaks, "limits": limits}
        )

    def toolchains(self) -> Mapping[str, Toolchain]:
        return accelerator_toolchains()

    def resources(self) -> Mapping[str, object]:
        """Request a device, or nothing for a target that is compiled for only."""
        if self.arch is not None:
            return {"num_cpus": 0.0}
        kind = {} if self.accelerator is None else {"accelerator_type": self.accelerator}
        return {"num_cpus": 0.0, "num_gpus": self.share, **kind}

    def instance(self) -> Instance:
        """Return the device that this process may use. What is not present is compiled for and interpreted by the processor."""
        return Instance(lock="cpu") if self.arch is not None else self._best(self.found()).instance

    def placed(self, machines: Sequence[Resources] | None = None, workers: int = 1) -> Placed:
        if self.arch is not None:
            absent = f"device {self.name} ({self.arch}) is not present: kernels are compiled for it and not timed"
            return Placed(self, absent)
        if machines is None or len(machines) == 1:
            self._best(self.found())  # Whoever is alone with this machine learns here why its device cannot be used.
        if machines is None:
            return Placed(self)
        kinds = self._kinds(machines)
        if self.accelerator is not None and self.accelerator not in kinds and kinds:
            raise UserError(f"device.accelerator={self.accelerator}: the cluster has {', '.join(sorted(kinds))}")
        if not kinds:
            raise AbsentDeviceError(
                f"device {self.name}: no machine of the cluster offers a GPU of this kind; start Ray where one is, or compile only "
                f"with device.arch={next(iter(self.architectures))}"
            )
        if len(kinds) == 1 or self.accelerator is not None:
            check_room(self, machines, workers)
            return Placed(self)
        best = max(sorted(kinds), key=self._published_bandwidth)
        chosen = replace(self, accelerator=best)
        check_room(chosen, machines, workers)
        return Placed(
            chosen, f"device {self.name}: {best} of {', '.join(sorted(kinds))}; device.accelerator=... takes another"
        )

    def bandwidth(self, machines: Sequence[Resources] | None = None) -> float:
        if machines is None:
            device = self._best(self.found())
            sheet = self.sheet(device)
            return sheet.peaks[Peak.MEMORY] if sheet else UNKNOWN_BANDWIDTH
        return max((self._published_bandwidth(kind) for kind in self._kinds(machines)), default=0.0)

    def ceilings(self, alone: AbstractContextManager[object]) -> Ceilings | None:
        if self.arch is not None:
            return None
        device = self._best(self.found())
        return measured(device.model, device.instance.environment, alone)

    def _best(self, devices: Sequence[Found]) -> Found:
        """Return the device with the widest memory among those that can be used, the first one of equals. Raises UserError."""
        usable = [device for device in devices if not device.problem]
        if not usable:
            raise UserError(devices[0].problem)
        return max(usable, key=lambda device: sheet.peaks[Peak.MEMORY] if (sheet := self.sheet(device)) else 0.0)

    def _kinds(self, machines: Sequence[Resources]) -> set[str]:
        """Return Ray's names of this vendor's devices on these machines. A GPU without a name may be of any vendor: its name is ""."""
        kinds: set[str] = set()
        for machine in machines:
            if machine.get("GPU", 0.0) <= 0:
                continue
            named = {name.removeprefix(_KIND) for name in machine if name.startswith(_KIND)}
            kinds |= {kind for kind in named if self.is_kind(kind)} if named else {""}
        return kinds

    def _published_bandwidth(self, kind: str) -> float:
        """Return the bytes per second of a kind by Ray's name."""
        known = [sheet.peaks[Peak.MEMORY] for sheet in self.sheets.values() if kind in sheet.accelerator_types]
        return max(known, default=UNKNOWN_BANDWIDTH)

    def _absent(self, arch: str) -> Target:
        """Return the target of an architecture without a device. Its models differ, so only what they share is known."""
        limits = limits_of(self.architectures[arch], None, {})
        facts = {"arch": arch, "present": "no: compiled, not timed", **facts_of({}, limits, self.unit)}
        return self._target(arch, present=False, facts=facts).model_copy(update={"limits": limits})

    def _target(self, arch: str, *, present: bool, facts: Mapping[str, str]) -> Target:
        languages = tuple(self.toolchains())
        return Target(
            device=self.name, vendor=self.vendor, arch=arch, present=present, languages=languages, facts=dict(facts)
        )


def is_nvidia(kind: str) -> bool:
    """Return whether one of Ray's names of accelerators means a GPU of NVIDIA."""
    return _OTHER_VENDORS.match(kind) is None


def listed(visible: str | None, names: Sequence[str]) -> list[int]:
    """Return the places of the devices that a variable such as CUDA_VISIBLE_DEVICES shows, in its order.

    Args:
        visible: The value of the variable: places or (the beginnings of) identifiers with commas between them, or None for all.
        names: The identifiers of the devices of the machine, in the order in which they are numbered.

    Returns:
        The places. As in CUDA, those after the first illegal entry do not count.
    """
    if visible is None:
        return list(range(len(names)))
    found: list[int] = []
    for entry in (part.strip() for part in visible.split(",")):
        if entry.isdigit():
            places = [int(entry)] if int(entry) < len(names) else []
        else:
            places = [place for place, name in enumerate(names) if entry and name.startswith(entry)]
        if len(places) != 1 or places[0] in found:
            break
        found += places
    return found
