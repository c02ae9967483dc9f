"""The runtime of an NVIDIA GPU. These tests skip themselves where there is none."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import torch
import yaml

from devices.base import Artifact, Instance
from evaluators.protocols.base import Effort, ProtocolResult
from evaluators.protocols.strict import StrictProtocol
from evaluators.runtime.base import Runner, Runtime, TimedBlock
from evaluators.runtime.device_lock import DeviceLock
from evaluators.runtime.layout import layout_of
from evaluators.runtime.registry import gpu_runtime
from evaluators.settings import EvaluationSettings
from evaluators.verdict import FailedError
from kernelevolve.core.evaluation import Status
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.task import Task
from tests.conformance.runtime import INPUTS, RuntimeConformance, kernel
from tests.evaluators.silu_mul import TASK, python_kernel

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")]
RIGHT = "return torch.nn.functional.silu(x) * y * self.scale"
_CONF = Path(__file__).parents[3] / "conf" / "evaluation" / "default.yaml"
UNWAITED = "import torch, evaluators.runtime.gpu.runner_main as m\nm.GpuRunnerMain.synchronize = lambda self: None"


def opened(settings: EvaluationSettings) -> Runtime:
    return gpu_runtime(settings, Instance(lock="nvidia-test", environment={"CUDA_VISIBLE_DEVICES": "0"}))


class TestGpu(RuntimeConformance):
    @classmethod
    def open(cls) -> Runtime:
        return opened(EvaluationSettings.model_validate(yaml.safe_load(_CONF.read_text())))

    def test_inputs_and_results_lie_on_the_device(self, runtime: Runtime) -> None:
        with self.loaded(runtime, "assert x.is_cuda and self.scale.is_cuda; return x + 1") as runner:
            assert runner.call([1])

    def test_results_that_are_not_contiguous_are_read_by_their_strides(self, runtime: Runtime) -> None:
        with self.loaded(runtime, "return (torch.arange(32., device='cuda').view(4, 8) + x).t()[1::2]") as runner:
            (output,) = runner.call([2])[0].outputs
            expected = (torch.arange(32.0).view(4, 8) + 2).t()[1::2]
            assert torch.equal(runner.read(output).part(0, 16), expected.reshape(-1))

    @pytest.mark.parametrize(
        ("forward", "status"),
        [
            ("return (x + 1).cpu()", Status.WRONG_SHAPE),
            ("return torch.empty(1 << 42, device='cuda', dtype=torch.uint8)[:32].view(4, 8)", Status.OUT_OF_MEMORY),
            ("i = torch.full((4, 8), 10, device='cuda'); return x.flatten()[i * 10**9]", Status.RUNTIME_ERROR),
            ("torch.backends.cuda.matmul.allow_tf32 = True; return x + 1", Status.CHEATING),
            ("import os; os.kill(os.getpid(), 9)", Status.CRASHED),
        ],
    )
    def test_what_goes_wrong_on_the_device_is_the_status_of_its_kernel_alone(
        self, runtime: Runtime, forward: str, status: Status
    ) -> None:
        with self.loaded(runtime, "return x + 1") as other:
            with self.loaded(runtime, forward) as runner, pytest.raises(FailedError) as raised:
                runner.call([0])
            assert raised.value.failure.status is status, raised.value.failure
            assert other.read(other.call([1])[0].outputs[0]).part(0, 1).item() == 2.0

    def test_a_block_waits_for_what_runs_on_other_streams(self, runtime: Runtime) -> None:
        forward = (
            "y = torch.empty_like(x); s = torch.cuda.Stream(); s.wait_stream(torch.cuda.current_stream())\n"
            "        with torch.cuda.stream(s):\n"
            "            torch.cuda._sleep(20_000_000); torch.add(x, 1, out=y)\n"
            "        return y"
        )
        with self.loaded(runtime, forward) as runner:
            (result,) = runtime.run([self.block(runtime, runner)])
            assert result.checked().seconds > 0.005

    def test_work_that_goes_on_after_the_block_is_found(self, runtime: Runtime) -> None:
        forward = "y = torch.empty_like(x); torch.cuda._sleep(40_000_000); return torch.add(x, 1, out=y)"
        runner = self.spawned(runtime)
        with runner:
            runner.load_kernel(kernel(forward, UNWAITED), TASK, [])
            runner.build()
            runner.lay_out(INPUTS, 3)
            (returned,) = runner.call([0])[0].outputs
            (result,) = runtime.run([self.block(runtime, runner)])
            assert result.seconds < 0.01, "the call returned before its work was done"
            time.sleep(0.1)
            with pytest.raises(FailedError) as raised:
                runner.read_run(returned, runner.addresses(1)[0], 0, 32)
            assert raised.value.failure.status is Status.CHEATING

    @staticmethod
    def block(runtime: Runtime, runner: Runner) -> TimedBlock:
        stage = runtime.stage(layout_of(INPUTS, 3))
        for slot in range(3):
            stage.inputs(slot)[0].fill_(10.0 + slot)
        return TimedBlock(runner, 1, 1, warm=True, staged=1)


@pytest.fixture(scope="module")
def protocol(settings: EvaluationSettings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StrictProtocol]:
    with closing(opened(settings)) as runtime:
        yield StrictProtocol(
            TASK, settings, runtime, DeviceLock(tmp_path_factory.mktemp("lock"), device=runtime.device)
        )


def judged(protocol: StrictProtocol, source: Kernel) -> ProtocolResult:
    return protocol.evaluate(source, Artifact(kernel_id=source.id), Effort(protocol.settings.timing, variants=True))


def test_a_right_kernel_is_proven_right_and_timed(protocol: StrictProtocol) -> None:
    found = judged(protocol, python_kernel(RIGHT))
    assert found.failure is None, found.failure
    assert found.measurement is not None
    assert found.measurement.speedup is not None
    assert 0.8 < found.measurement.speedup.value < 1.25
    assert {check.name for check in found.checks} >= {"own inputs", "hidden shapes", "second calls", "timed blocks"}


@pytest.mark.parametrize(
    ("forward", "statuses"),
    [
        ("return torch.nn.functional.silu(x) * y", {Status.WRONG_RESULT}),
        ("return torch.nn.functional.silu(x.half()).float() * y * self.scale", {Status.WRONG_RESULT}),
        ("return torch.empty_like(x)", {Status.WRONG_RESULT}),
        (
            "self.kept = getattr(self, 'kept', {}); k = x.data_ptr()\n"
            f"        if k not in self.kept: self.kept[k] = {RIGHT.removeprefix('return ')}\n"
            "        return self.kept[k]",
            {Status.WRONG_RESULT},
        ),
    ],
)
def test_a_wrong_kernel_is_refused(protocol: StrictProtocol, forward: str, statuses: set[Status]) -> None:
    found = judged(protocol, python_kernel(forward))
    assert found.failure is not None
    assert found.failure.status in statuses, found.failure


def test_a_task_forbids_the_operators_of_the_gpu_too(settings: EvaluationSettings, tmp_path: Path) -> None:
    strict = Task.model_validate({**TASK.model_dump(), "allow_aten": "none"})
    with closing(opened(settings)) as runtime:
        found = judged(StrictProtocol(strict, settings, runtime, DeviceLock(tmp_path)), python_kernel(RIGHT))
    assert found.failure is not None
    assert found.failure.status is Status.CHEATING
