"""The device `nvidia`, with stand-ins for NVIDIA's libraries; tests marked `gpu` use the real ones."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from devices.base import AbsentDeviceError, Device
from devices.ceilings import measured
from devices.nvidia import device as module
from devices.nvidia import driver, nvml
from devices.nvidia.device import NvidiaDevice, outdated
from devices.nvidia.models import ARCHITECTURES, SHEETS, sheet_of
from devices.torch_build import TorchBuild, build_of, torch_build
from kernelevolve.core.child_process import ROOT
from kernelevolve.core.errors import InfrastructureError, UserError
from kernelevolve.core.target import Ceilings, Limit, Peak, Source
from tests.conformance.device import DeviceConformance
from tests.devices.standins import GIB, H200, L40S, SECOND_H200, SLICED, build_nvidia_libraries

CUDA_13 = TorchBuild(version="2.11.0+cu130", cuda=(13, 0))


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the stand-ins."""
    folder = tmp_path_factory.mktemp("libraries")
    build_nvidia_libraries(folder)
    return folder


@pytest.fixture
def standins(libraries: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Two H200, which this process and its children find through the stand-ins, and a torch for CUDA 13."""
    monkeypatch.setattr(nvml, "LIBRARY", str(libraries / nvml.LIBRARY))
    monkeypatch.setenv("LD_LIBRARY_PATH", str(libraries))
    monkeypatch.setenv("STANDIN_GPUS", f"{H200};{SECOND_H200}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(module, "torch_build", lambda: CUDA_13)
    driver.view.cache_clear()
    return monkeypatch


class TestWithoutOne(DeviceConformance):
    def device(self) -> Device:
        return NvidiaDevice(arch="sm_90")


@pytest.mark.usefixtures("standins")
class TestWithTwo(DeviceConformance):
    def device(self) -> Device:
        return NvidiaDevice()


@pytest.mark.usefixtures("standins")
def test_the_driver_and_the_datasheet_describe_a_known_model() -> None:
    target = NvidiaDevice().target()
    assert (target.arch, target.present, target.facts["model"]) == ("sm_90", True, "NVIDIA H200")
    assert target.peak(Peak.MEMORY) == 4.8e12
    assert target.peaks[Peak.BFLOAT16].source is Source.DATASHEET
    assert target.limit(Limit.L2_BYTES) == 60 << 20
    assert target.limit(Limit.SHARED_BYTES_PER_BLOCK) == 227 << 10
    assert target.limits[Limit.UNITS].source is Source.DRIVER
    assert target.limits[Limit.REGISTERS_PER_THREAD].source is Source.DATASHEET
    assert target.facts["driver"] == "580.65.06"
    assert "unknown" not in target.facts


def test_an_unknown_model_has_what_the_driver_says_and_names_the_rest(standins: pytest.MonkeyPatch) -> None:
    standins.setenv("STANDIN_GPUS", L40S)
    target = NvidiaDevice().target()
    assert (target.arch, target.peaks) == ("sm_89", {})
    assert target.limit(Limit.UNITS) == 132
    assert target.facts["unknown"] == "memory bandwidth, peaks of arithmetic"


@pytest.mark.usefixtures("standins")
def test_cuda_is_never_loaded_by_the_process_that_asks() -> None:
    NvidiaDevice().target()
    maps = Path("/proc/self/maps").read_text()
    assert "libnvidia-ml" in maps
    assert "libcuda" not in maps


@pytest.mark.parametrize(
    ("visible", "expected"),
    [(None, 1), ("1", 2), ("1,0", 2), ("GPU-2222", 2), ("0,7", 1)],
)
def test_the_environment_chooses_the_device(standins: pytest.MonkeyPatch, visible: str | None, expected: int) -> None:
    if visible is not None:
        standins.setenv("CUDA_VISIBLE_DEVICES", visible)
    uuid = (H200, SECOND_H200)[expected - 1].split("|")[1]
    instance = NvidiaDevice().instance()
    assert instance.lock == f"nvidia-{uuid}"
    assert instance.environment == {"CUDA_VISIBLE_DEVICES": uuid}


@pytest.mark.parametrize("visible", ["", "-1", "7", "NoDevFiles"])
def test_hidden_devices_are_absent(standins: pytest.MonkeyPatch, visible: str) -> None:
    standins.setenv("CUDA_VISIBLE_DEVICES", visible)
    with pytest.raises(AbsentDeviceError, match="hides all NVIDIA GPUs"):
        NvidiaDevice().target()


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"STANDIN_GPUS": ""}, "finds no GPU on this machine"),
        ({"STANDIN_NVML_ERROR": "18"}, "version mismatch.* reload or reinstall the driver"),
        ({"STANDIN_GPUS": SLICED}, "switch MIG off"),
        ({"STANDIN_GPUS": H200, "CUDA_VISIBLE_DEVICES": "MIG-1"}, "give the whole GPU"),
        (
            {"STANDIN_DRIVER": "470.57", "STANDIN_CUDA": "11040"},
            "470.57 serves CUDA 11.4 and is too old: install driver 525",
        ),
        ({"STANDIN_DRIVER": "535.54", "STANDIN_CUDA": "12020"}, "built for CUDA 13.0: install driver 580"),
        ({"STANDIN_CUDA_ERROR": "802"}, "error 802: system not yet initialized"),
    ],
)
def test_what_is_missing_is_one_line_with_the_remedy(
    standins: pytest.MonkeyPatch, variables: dict[str, str], said: str
) -> None:
    for name, value in variables.items():
        standins.setenv(name, value)
    with pytest.raises(UserError, match=said) as raised:
        NvidiaDevice().target()
    assert "\n" not in str(raised.value)


def test_a_usable_device_is_taken_beside_one_that_is_not(standins: pytest.MonkeyPatch) -> None:
    standins.setenv("STANDIN_GPUS", f"{SLICED};{H200}")
    assert NvidiaDevice().instance().lock.endswith("1")


def test_a_torch_without_cuda_is_told(standins: pytest.MonkeyPatch) -> None:
    build = build_of("__version__ = '2.13.0+cpu'\ncuda: Optional[str] = None\nhip: Optional[str] = None\n")
    standins.setattr(module, "torch_build", lambda: build)
    capability = NvidiaDevice().capability()
    assert not capability.available
    assert "torch 2.13.0+cpu was built without CUDA: install a build for CUDA 13" in capability.detail


def test_the_build_of_torch_is_read_from_its_file() -> None:
    built = build_of("__version__ = '2.11.0+cu130'\ncuda: Optional[str] = '13.0'\nhip: Optional[str] = None\n")
    assert built == CUDA_13
    assert not outdated(nvml.Machine(driver="580", cuda=(13, 1), gpus=()), built)


@pytest.mark.parametrize(
    ("name", "memory", "model"),
    [
        ("NVIDIA A100-SXM4-80GB", 80, "A100 SXM 80GB"),
        ("NVIDIA A100-PCIE-40GB", 40, "A100 PCIe 40GB"),
        ("NVIDIA H100 80GB HBM3", 80, "H100 SXM"),
        ("NVIDIA H100 PCIe", 80, "H100 PCIe"),
        ("NVIDIA H100 NVL", 94, "H100 NVL"),
        ("NVIDIA H200", 141, "H200 SXM"),
        ("NVIDIA B200", 180, "B200"),
    ],
)
def test_the_names_that_drivers_report_lead_to_datasheets(name: str, memory: int, model: str) -> None:
    sheet = sheet_of(name, memory * GIB)
    assert sheet is not None
    assert sheet.model == model
    assert sheet.arch in ARCHITECTURES


def test_published_figures_agree_with_each_other() -> None:
    for sheet in SHEETS.values():
        assert sheet.sources
        assert sheet.peaks[Peak.FLOAT16] == sheet.peaks[Peak.BFLOAT16]
        # TF32 products run at half the rate of 16 bits, up to the rounding of the datasheets.
        assert sheet.peaks[Peak.FLOAT16] / sheet.peaks[Peak.TF32] == pytest.approx(2, rel=0.03)


@pytest.mark.skipif(torch_build().cuda is not None, reason="this torch could measure")
def test_ceilings_that_cannot_be_measured_are_an_error_of_one_line() -> None:
    entered = []

    @contextmanager
    def alone() -> Iterator[None]:
        entered.append(True)
        yield

    with pytest.raises(InfrastructureError, match=r"ceilings of H200 were not measured: .*CUDA") as raised:
        measured("H200", {}, alone())
    assert "\n" not in str(raised.value)
    assert not entered, "the device is locked only once everything is ready"


def test_two_workers_on_one_machine_get_a_gpu_and_a_lock_each(standins: pytest.MonkeyPatch) -> None:
    """Ray counts the GPUs that it is told of, and shows each worker another one."""
    standins.setenv("PYTHONPATH", str(ROOT))
    done = subprocess.run(
        [sys.executable, "-c", _TWO_WORKERS], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert sorted(json.loads(done.stdout.splitlines()[-1])) == sorted(
        f"nvidia-{text.split('|')[1]}" for text in (H200, SECOND_H200)
    )


_TWO_WORKERS = """
import json, ray
import devices.nvidia.device as module
from devices.base import ray_resources
from devices.nvidia.device import NvidiaDevice
from devices.torch_build import TorchBuild
from kernelevolve.core.errors import InfrastructureError, UserError
from kernelevolve.remote import machines

BUILD = TorchBuild(version="2.11.0+cu130", cuda=(13, 0))
module.torch_build = lambda: BUILD

class Worker:
    def lock(self):
        module.torch_build = lambda: BUILD
        return NvidiaDevice().instance().lock

ray.init(address="local", num_cpus=1, num_gpus=2, resources={"accelerator_type:H200": 1}, include_dashboard=False, log_to_driver=False)
device = NvidiaDevice(accelerator="H200").placed(machines(), workers=2).device
try:
    device.placed(machines(), workers=3)
    raise SystemExit("three workers were placed on two GPUs")
except UserError as error:
    assert "set evaluation.workers=2" in str(error), error
workers = [ray.remote(Worker).options(**device.resources()).remote() for _ in range(2)]
print(json.dumps(ray.get([worker.lock.remote() for worker in workers], timeout=60)))
"""


real = pytest.mark.skipif(not nvml.DRIVER_FILE.exists(), reason="there is no NVIDIA GPU")


@real
@pytest.mark.gpu
def test_a_real_gpu_is_described_without_a_context() -> None:
    device = NvidiaDevice()
    target = device.target()
    code = "import torch; p = torch.cuda.get_device_properties(0); print(p.multi_processor_count, p.L2_cache_size, p.total_memory)"
    environment = {**os.environ, **device.instance().environment}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    units, l2, memory = map(int, done.stdout.split())
    assert (target.limit(Limit.UNITS), target.limit(Limit.L2_BYTES)) == (units, l2)
    assert target.limit(Limit.MEMORY_BYTES) == pytest.approx(memory, rel=0.05)
    assert re.fullmatch(r"sm_\d+", target.arch)
    assert "/dev/nvidia-uvm" not in Path("/proc/self/maps").read_text(), "only a process that uses CUDA maps it"


@real
@pytest.mark.gpu
def test_ceilings_of_a_real_gpu_lie_below_its_peaks_and_take_five_seconds() -> None:
    command = [sys.executable, "-m", "devices.nvidia.ceilings"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    found = Ceilings.model_validate_json(done.stdout)
    assert found.seconds < 8
    published = NvidiaDevice().target().peaks
    for name in (Peak.MEMORY, Peak.BFLOAT16, Peak.FLOAT32):
        assert name in found.peaks, found.failed
        if name in published:
            assert 0.3 < found.peaks[name].value / published[name].value < 1.05
