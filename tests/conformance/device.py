"""What every device must do; a test module derives from `DeviceConformance`."""

from __future__ import annotations

import pickle
import re
from abc import ABC, abstractmethod

from devices.base import Device, Toolchain
from kernelevolve.core.target import Source, Target


class DeviceConformance(ABC):
    @abstractmethod
    def device(self) -> Device: ...

    def test_names(self) -> None:
        assert self.device().name == self.device().name.lower() != ""
        assert self.device().vendor
        assert self.device().capability().name == self.device().name

    def test_the_target_does_not_change(self) -> None:
        first, again = self.device().target(), self.device().target()
        assert {**first.facts, "memory_gib": ""} == {**again.facts, "memory_gib": ""}
        assert (first.device, first.vendor) == (self.device().name, self.device().vendor)
        assert first.arch == again.arch != ""
        assert all(first.facts.values())

    def test_it_travels(self) -> None:
        there = pickle.loads(pickle.dumps(self.device()))
        assert there.target().arch == self.device().target().arch

    def test_its_toolchains_tell_what_they_make_for_its_target(self) -> None:
        target = self.device().target()
        for toolchain in self.device().toolchains().values():
            assert bool(toolchain.fingerprint(target)) == toolchain.capability().available

    def test_toolchains_by_language(self) -> None:
        toolchains = self.device().toolchains()
        assert toolchains
        assert all(isinstance(toolchain, Toolchain) for toolchain in toolchains.values())

    def test_what_is_asked_of_ray_are_its_options(self) -> None:
        resources = self.device().resources()
        assert set(resources) <= {"num_cpus", "num_gpus", "accelerator_type", "resources"}
        assert "num_cpus" in resources, "else Ray takes a CPU for an actor that waits most of the time"

    def test_its_settings_make_an_equal_one(self) -> None:
        device = self.device()
        assert type(device)(**device.settings()).target() == device.target()

    def test_its_lock_is_a_file_name_and_does_not_change(self) -> None:
        instance = self.device().instance()
        assert instance == self.device().instance()
        assert re.fullmatch(r"[\w.-]+", instance.lock)

    def test_what_it_cannot_exceed_has_a_source(self) -> None:
        target = self.device().target()
        assert all(isinstance(figure.source, Source) for figure in (*target.peaks.values(), *target.limits.values()))
        assert target == Target.model_validate_json(target.model_dump_json())
