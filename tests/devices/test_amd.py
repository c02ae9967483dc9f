"""The device `amd`, on the files of a driver that is not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from devices.amd import device as module
from devices.amd import kfd
from devices.amd.device import AmdDevice
from devices.amd.models import ARCHITECTURES, DEVICE_IDS, SHEETS
from devices.base import AbsentDeviceError, Device
from devices.torch_build import TorchBuild
from kernelevolve.core.errors import UserError
from kernelevolve.core.target import Limit, Peak, Source
from tests.conformance.device import DeviceConformance
from tests.devices.standins import GIB, MI300X, MI355X, amd_files


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of a machine without files, and a torch for ROCm."""
    monkeypatch.setattr(kfd, "ROOT", tmp_path)
    monkeypatch.setattr(module, "torch_build", lambda: TorchBuild(version="2.11.0+rocm7.0", hip="7.0.1"))
    for name in ("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


class TestWithoutOne(DeviceConformance):
    def device(self) -> Device:
        return AmdDevice(arch="gfx950")


class TestWithOne(DeviceConformance):
    @pytest.fixture(autouse=True)
    def _files(self, root: Path) -> None:
        amd_files(root, MI300X)

    def device(self) -> Device:
        return AmdDevice()


def test_linux_and_the_datasheet_describe_a_known_model(root: Path) -> None:
    amd_files(root, MI355X, memory=288 * GIB)
    target = AmdDevice().target()
    assert (target.arch, target.present, target.facts["model"]) == ("gfx950", True, "MI355X")
    assert (target.limit(Limit.UNITS), target.limit(Limit.SHARED_BYTES_PER_BLOCK)) == (256, 160 << 10)
    assert target.limit(Limit.MEMORY_BYTES) == 288 * GIB
    assert target.limits[Limit.WARP_SIZE].source is Source.DRIVER
    assert target.limits[Limit.L2_BYTES].source is Source.DATASHEET
    assert target.peak(Peak.MEMORY) == 8e12
    assert target.peak(Peak.TF32) is None, "it has no such unit"
    assert (target.facts["driver"], target.facts["rocm"]) == ("6.12.12", "7.0.1")


def test_a_part_of_a_divided_device_has_no_published_rates(root: Path) -> None:
    amd_files(root, MI300X | {"simd_count": 152, "num_xcc": 1}, memory=24 * GIB)
    target = AmdDevice().target()
    assert (target.limit(Limit.UNITS), target.peaks) == (38, {})
    assert "memory bandwidth" in target.facts["unknown"]


def test_an_unknown_model_is_named_by_its_id(root: Path) -> None:
    amd_files(root, MI300X | {"device_id": 0x7999, "gfx_target_version": 90010})
    target = AmdDevice().target()
    assert (target.arch, target.facts["model"]) == ("gfx90a", "AMD GPU 0x7999")


def test_the_environment_chooses_the_device(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    amd_files(root, MI300X, MI355X)
    assert AmdDevice().instance().lock == "amd-GPU-fedcba0987654321", "the one with the widest memory"
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", "0")
    instance = AmdDevice().instance()
    assert instance.lock == "amd-GPU-1234567890abcdef"
    assert instance.environment == {"ROCR_VISIBLE_DEVICES": "GPU-1234567890abcdef", "HIP_VISIBLE_DEVICES": "0"}
    monkeypatch.setenv("ROCR_VISIBLE_DEVICES", "GPU-fedcba0987654321")
    assert AmdDevice().instance().lock == "amd-GPU-fedcba0987654321", "HIP numbers what ROCm's runtime leaves"
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", "")
    with pytest.raises(AbsentDeviceError, match="hide all AMD GPUs"):
        AmdDevice().target()


def test_parts_with_one_identifier_are_named_by_their_places_and_share_a_lock(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    amd_files(root, MI300X, MI300X)
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", "1")
    instance = AmdDevice().instance()
    assert instance.environment["ROCR_VISIBLE_DEVICES"] == "1"
    assert instance.lock == "amd-GPU-1234567890abcdef"


def test_what_is_missing_is_told_with_the_remedy(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AbsentDeviceError, match="no AMD driver"):
        AmdDevice().target()
    amd_files(root)
    with pytest.raises(AbsentDeviceError, match="finds no GPU"):
        AmdDevice().target()
    amd_files(root / "other", MI300X)
    monkeypatch.setattr(kfd, "ROOT", root / "other")
    monkeypatch.setattr(module, "torch_build", lambda: TorchBuild(version="2.13.0+cpu"))
    with pytest.raises(UserError, match="built without ROCm: install a build for ROCm"):
        AmdDevice().target()
    monkeypatch.setattr(kfd, "may_use", lambda: False)
    with pytest.raises(UserError, match="groups render and video"):
        AmdDevice().target()


def test_published_figures_belong_to_known_models() -> None:
    for sheet in SHEETS.values():
        assert sheet.sources
        assert sheet.arch in ARCHITECTURES
        assert sheet.model in DEVICE_IDS.values()
        assert sheet.peaks[Peak.FLOAT8] / sheet.peaks[Peak.FLOAT16] == pytest.approx(2, rel=1e-3)
