"""The runtimes: that of the CPU, and one of a device that does not exist, by which kernels are evaluated too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from devices.base import Artifact
from evaluators.protocols.base import Effort
from evaluators.protocols.strict import StrictProtocol
from evaluators.runtime.base import Runtime
from evaluators.runtime.cpu.fork_server import ForkServer
from evaluators.runtime.cpu.runtime import CpuRuntime
from evaluators.runtime.device_lock import DeviceLock
from evaluators.settings import EvaluationSettings
from kernelevolve.core.evaluation import Status
from tests.conformance.runtime import RuntimeConformance
from tests.evaluators.silu_mul import TASK, python_kernel
from tests.evaluators.simulated_device import SimulatedRuntime

RIGHT = "return torch.nn.functional.silu(x) * y * self.scale"


class TestCpu(RuntimeConformance):
    @classmethod
    def open(cls) -> Runtime:
        return CpuRuntime(ForkServer(threads=1, confined=False), 1)


class TestSimulated(RuntimeConformance):
    @classmethod
    def open(cls) -> Runtime:
        return SimulatedRuntime(latency=0.001)


@pytest.fixture
def protocol(settings: EvaluationSettings, tmp_path: Path) -> Iterator[StrictProtocol]:
    few = settings.model_copy(update={"trials": 1, "max_draws": 2})
    with closing(SimulatedRuntime()) as runtime:
        yield StrictProtocol(TASK, few, runtime, DeviceLock(tmp_path))


def test_a_device_that_nobody_knows_proves_a_kernel_right_and_times_it(
    protocol: StrictProtocol, settings: EvaluationSettings
) -> None:
    slow = python_kernel(f"import time; time.sleep(0.003)\n        {RIGHT}")
    found = protocol.evaluate(slow, Artifact(kernel_id=slow.id), Effort(settings.timing, variants=True))
    assert found.failure is None, found.failure
    assert found.measurement is not None
    assert found.measurement.fitness < 0.8
    assert set(found.variants) == {"short"}
    assert {check.name for check in found.checks} >= {"own inputs", "hidden shapes", "second calls", "timed blocks"}


@pytest.mark.parametrize(
    ("forward", "status"),
    [
        (f"return ({RIGHT[7:]}) * 1.01", Status.WRONG_RESULT),
        (f"r = {RIGHT[7:]}; x.zero_(); return r", Status.WRONG_RESULT),
        (f"assert len(x) == 512; {RIGHT}", Status.RUNTIME_ERROR),
        (f"self.n = getattr(self, 'n', 0) + 1; return ({RIGHT[7:]}) * (1 if self.n < 60 else 2)", Status.WRONG_RESULT),
    ],
)
def test_a_device_that_nobody_knows_finds_a_kernel_wrong(
    protocol: StrictProtocol, settings: EvaluationSettings, forward: str, status: Status
) -> None:
    wrong = python_kernel(forward)
    found = protocol.evaluate(wrong, Artifact(kernel_id=wrong.id), Effort(settings.timing))
    assert found.failure is not None
    assert found.failure.status is status
