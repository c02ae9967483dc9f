"""What every device must do; a test module derives from `DeviceConformance`."""

from __future__ import annotations

from abc import ABC, abstractmethod

from devices.base import Device, Toolchain


class DeviceConformance(ABC):
    @abstractmethod
    def device(self) -> Device: ...

    def test_names(self) -> None:
        assert self.device().name == self.device().name.lower() != ""
        assert self.device().vendor
        assert self.device().capability().name == self.device().name

    def test_facts_and_arch_do_not_change(self) -> None:
        assert self.device().arch() == self.device().arch() != ""
        assert dict(self.device().facts()) == dict(self.device().facts())
        assert all(isinstance(value, str) and value for value in self.device().facts().values())

    def test_toolchains_by_language(self) -> None:
        toolchains = self.device().toolchains()
        assert toolchains
        assert all(isinstance(toolchain, Toolchain) for toolchain in toolchains.values())

    def test_a_measurement_holds_something(self) -> None:
        resources = self.device().measuring_resources()
        assert sum(resources.values()) > 0
        assert all(amount >= 0 for amount in resources.values())
