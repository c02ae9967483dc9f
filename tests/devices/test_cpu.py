from __future__ import annotations

import os
from pathlib import Path

import pytest

from devices import cpu
from devices.base import Device
from devices.cpu import CpuDevice
from devices.registry import all_devices
from tests.conformance.device import DeviceConformance


class TestCpu(DeviceConformance):
    def device(self) -> Device:
        return CpuDevice()


def test_names_of_devices_are_unique() -> None:
    names = [device.name for device in all_devices()]
    assert len(set(names)) == len(names)


def test_cores_follow_the_affinity() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert cpu.usable_cores() == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(("text", "cores"), [("150000 100000", 2), ("50000 100000", 1), ("max 100000", 64)])
def test_cores_follow_the_quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, cores: int) -> None:
    (tmp_path / "cpu.max").write_text(text + "\n")
    monkeypatch.setattr(cpu, "_CGROUP", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    assert cpu.usable_cores() == cores


def test_memory_follows_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "memory.max").write_text("1048576\n")
    monkeypatch.setattr(cpu, "_CGROUP", tmp_path)
    assert cpu.memory_bytes() == 1048576


def test_without_a_compiler_the_arch_is_the_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CXX", raising=False)
    assert CpuDevice().target().arch == os.uname().machine
