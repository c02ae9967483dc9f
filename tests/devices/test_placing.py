"""The choice of a device on the machines of a cluster, whose resources are as Ray reports them."""

from __future__ import annotations

import pytest

from devices.amd.device import AmdDevice
from devices.auto import AutoDevice
from devices.base import AbsentDeviceError, Placed, Resources
from devices.cpu import CpuDevice
from devices.nvidia.device import NvidiaDevice
from kernelevolve.core.errors import UserError


def gpus(count: int, kind: str) -> Resources:
    return {"CPU": 16.0, "GPU": float(count), f"accelerator_type:{kind}": 1.0}


CPU = {"CPU": 64.0}
A100, H200 = gpus(8, "A100"), gpus(2, "H200")
MI300X, MI355X = gpus(8, "AMD-Instinct-MI300X-OAM"), gpus(1, "AMD-Instinct-MI355X-OAM")


@pytest.mark.parametrize(
    ("machines", "name", "accelerator"),
    [
        ([CPU, A100], "nvidia", None),
        ([CPU, A100, H200], "nvidia", "H200"),
        ([H200, MI300X], "amd", None),
        ([MI300X, MI355X, H200], "amd", "AMD-Instinct-MI355X-OAM"),
        ([A100, gpus(1, "GeForce-RTX-5090")], "nvidia", "A100"),
    ],
)
def test_auto_takes_the_widest_memory_of_the_cluster_and_says_so(
    machines: list[Resources], name: str, accelerator: str | None
) -> None:
    placed = AutoDevice().placed(machines)
    assert (placed.device.name, placed.device.settings()["accelerator"]) == (name, accelerator)
    assert f"device=auto: {name}, the best of the cluster" in placed.note
    assert "TB/s" in placed.note
    assert "\n" not in placed.note


def test_auto_without_an_accelerator_is_the_cpu() -> None:
    placed = AutoDevice().placed([CPU, CPU])
    assert isinstance(placed.device, CpuDevice)
    assert placed.note == "device=auto: cpu, since the cluster has no accelerator that can be used"


def test_gpus_of_other_vendors_are_not_nvidias() -> None:
    for kind in ("Intel-GPU-Max-1550", "MXC500", "M1-Pro", "Apple-Silicon"):
        assert isinstance(AutoDevice().placed([CPU, gpus(1, kind)]).device, CpuDevice)
        with pytest.raises(AbsentDeviceError):
            NvidiaDevice().placed([CPU, gpus(1, kind)])


def test_too_many_workers_are_refused_with_the_number_that_fits() -> None:
    assert NvidiaDevice().placed([CPU, A100], workers=8) == Placed(NvidiaDevice())
    with pytest.raises(UserError, match=r"evaluation.workers=9: .* set evaluation.workers=8"):
        NvidiaDevice().placed([CPU, A100], workers=9)
    with pytest.raises(UserError, match=r"set evaluation\.workers=2"):
        AutoDevice().placed([CPU, A100, H200], workers=3)
    assert NvidiaDevice(share=0.5).placed([CPU, H200], workers=4).device == NvidiaDevice(share=0.5)


def test_a_model_can_be_named() -> None:
    named = NvidiaDevice(accelerator="A100")
    assert named.placed([A100, H200]).device == named
    assert named.resources() == {"num_cpus": 0.0, "num_gpus": 1.0, "accelerator_type": "A100"}
    with pytest.raises(UserError, match=r"device\.accelerator=B200: the cluster has A100, H200"):
        NvidiaDevice(accelerator="B200").placed([A100, H200])


def test_what_is_compiled_only_needs_nothing_and_says_so() -> None:
    absent = AmdDevice(arch="gfx950")
    placed = absent.placed([CPU], workers=3)
    assert placed.device is absent
    assert "not present" in placed.note
    assert absent.resources() == {"num_cpus": 0.0}
    target = absent.target()
    assert not target.present
    assert not target.peaks, "the models of an architecture differ in them"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"arch": "sm_70"}, "sm_80, sm_90, sm_100"),
        ({"share": 0.0}, "above 0"),
        ({"arch": "sm_90", "accelerator": "H100"}, "give one of them"),
    ],
)
def test_illegal_settings_are_told(settings: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        NvidiaDevice(**settings)  # type: ignore[arg-type]
