"""The last measurement, with finalists and references that fail in it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from devices.cpu import CpuDevice
from evaluators.runtime.base import Runtime
from evaluators.runtime.cpu.runner_process import RunnerProcess
from evaluators.runtime.device_lock import DeviceLock
from evaluators.sandbox.landlock import version
from evaluators.service.comparison import Comparison
from evaluators.service.finals import compare_finalists
from evaluators.service.pipeline import Pipeline
from evaluators.settings import EvaluationSettings, TimingSettings
from kernelevolve.core.errors import UserError
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.task import Task
from tests.evaluators.silu_mul import TASK, python_kernel

pytestmark = pytest.mark.alone

RIGHT = "return torch.nn.functional.silu(x) * y * self.scale"
GOOD = python_kernel(RIGHT)
OTHER = python_kernel("return x * torch.sigmoid(x) * y * self.scale")
TIMED = "self.calls = getattr(self, 'calls', 0) + 1\n        if self.calls > 40: "
"""The body of forward goes on when the kernel is timed: fewer calls prove it correct."""


ENDLESS = "n = 0\n        while torch.compiler.is_compiling() and n < {}: n += 1"
"""Takes its time in torch.compile's tracing, and none in the code that comes out of it."""


@pytest.fixture(scope="module")
def quick(settings: EvaluationSettings) -> EvaluationSettings:
    final = TimingSettings(
        reference_processes=2,
        kernel_processes=1,
        warmup_calls=1,
        block_seconds=0.001,
        max_calls=8,
        block_mb=8,
        min_rounds=4,
        max_rounds=6,
        target_interval=0.05,
        max_seconds=0.2,
        disturbed_factor=1.0,
    )
    return settings.model_copy(update={"run_timeout": 2.0, "final": final, "compile_reference_timeout": 40.0})


@pytest.fixture(scope="module")
def judge(quick: EvaluationSettings, runtime: Runtime) -> Iterator[Pipeline]:
    with closing(Pipeline(TASK, CpuDevice(), quick, runtime=runtime)) as made:
        yield made


def compared_apart(
    kernels: list[Kernel], settings: EvaluationSettings, task: Task, compiled: bool = False
) -> Comparison:
    """By a pipeline of its own."""
    with closing(Pipeline(task, CpuDevice(), settings)) as made:
        return compare_finalists(made, kernels, with_compile=compiled)


def test_every_finalist_is_measured_against_both_and_the_best_in_its_variants(judge: Pipeline) -> None:
    found = compare_finalists(judge, [GOOD, OTHER], with_compile=True)
    assert {f.kernel_id for f in found.finalists} == {GOOD.id, OTHER.id}
    assert found.failures == {}
    first, second = found.finalists
    assert found.compile_note.startswith(("compiled in", "not measured: "))
    assert (first.over_compile is None) == found.compile_note.startswith("not measured")
    assert first.over_eager.fitness >= second.over_eager.fitness
    assert set(first.variants) == {"short"}
    short = first.variants["short"]
    assert short.rounds >= judge.settings.final.min_rounds
    assert short.reference_seconds < first.over_eager.reference_seconds, "three rows take less than 512"


SPOILERS = [
    (f"{TIMED}os.kill(os.getpid(), 11)\n        {RIGHT}", "SIGSEGV"),
    (f"{TIMED}os.kill(os.getppid(), 9)\n        {RIGHT}", "not permitted" if version() >= 6 else "ended the process"),
    (f"{TIMED}time.sleep(99)\n        {RIGHT}", "not done after"),
    (f"{TIMED}raise ValueError('tired')\n        {RIGHT}", "tired"),
    (f"{TIMED}return x\n        {RIGHT}", "a timed call"),
    (f"{TIMED}return 'x'\n        {RIGHT}", "it returned 0 tensors, 1 before"),
    (f"{TIMED}os.write(3, b'{{}}\\n'); time.sleep(1)\n        {RIGHT}", "reply of the runner is malformed"),
    (f"{TIMED}os.close(3)\n        {RIGHT}", "before it returned a result"),
]


def test_finalists_that_fail_are_dropped_and_no_other(judge: Pipeline) -> None:
    spoilers = [(python_kernel(body, "import time"), why) for body, why in SPOILERS]
    found = compare_finalists(judge, [*(kernel for kernel, _ in spoilers), GOOD], with_compile=False)
    assert [f.kernel_id for f in found.finalists] == [GOOD.id]
    assert set(found.failures) == {kernel.id for kernel, _ in spoilers}
    for kernel, why in spoilers:
        assert why in found.failures[kernel.id]
    assert set(found.finalists[0].variants) == {"short"}


def test_a_finalist_that_hangs_when_it_is_loaded_is_dropped_alone(judge: Pipeline) -> None:
    spoiler = python_kernel("time.sleep(99)", "import time")
    found = compare_finalists(judge, [spoiler, GOOD], with_compile=False)
    assert [f.kernel_id for f in found.finalists] == [GOOD.id]
    assert "not done after" in found.failures[spoiler.id]


def test_a_finalist_that_fails_in_a_variant_gives_way_to_the_next(judge: Pipeline) -> None:
    count = "self.calls = getattr(self, 'calls', 0) + 1; assert len(x) > 3 or self.calls < 60, 'worn out'"
    spoiler = python_kernel(f"{count}\n        {RIGHT}")
    slower = python_kernel(f"[torch.sigmoid(x) for _ in range(20)]\n        {RIGHT}")
    found = compare_finalists(judge, [spoiler, slower], with_compile=False)
    assert [f.kernel_id for f in found.finalists] == [slower.id]
    assert "variant short" in found.failures[spoiler.id]
    assert "worn out" in found.failures[spoiler.id]
    assert set(found.finalists[0].variants) == {"short"}


def test_nothing_is_left_where_every_finalist_fails(judge: Pipeline) -> None:
    found = compare_finalists(judge, [python_kernel("os._exit(3)"), python_kernel("return None.x")], with_compile=False)
    assert found.finalists == ()
    assert len(found.failures) == 2


@pytest.mark.parametrize(
    ("trap", "why"),
    [
        ("__import__('os').stat('/not/for/compilers')", "/not/for/compilers"),
        ("__import__('os').kill(__import__('os').getpid(), 11)", "SIGSEGV"),
        ("n = 0\n            while True: n += 1", "not done after 4 s"),
    ],
)
def test_where_torch_compile_fails_the_note_says_why(quick: EvaluationSettings, trap: str, why: str) -> None:
    trapped = Task(
        name="trapped",
        source=TASK.source.replace(RIGHT, f"if torch.compiler.is_compiling():\n            {trap}\n        {RIGHT}"),
    )
    settings = quick.model_copy(update={"compile_reference_timeout": 4.0 if "4 s" in why else 40.0})
    found = compared_apart([GOOD], settings, trapped, compiled=True)
    assert found.compile_note.startswith("torch.compile failed: ")
    assert why in found.compile_note
    assert found.compile_over_eager is None
    assert [f.over_compile for f in found.finalists] == [None]


def test_a_reference_that_cannot_be_timed_is_the_tasks_fault(quick: EvaluationSettings) -> None:
    worn = TASK.source.replace(
        RIGHT, f"self.n = getattr(self, 'n', 0) + 1; assert self.n < 20, 'worn'\n        {RIGHT}"
    )
    with pytest.raises(UserError, match=r"the reference cannot be timed: .*AssertionError: worn"):
        compared_apart([GOOD, OTHER], quick, Task(name="worn", source=worn))


@pytest.mark.thorough
def test_compiling_holds_no_lock_and_measuring_does(
    quick: EvaluationSettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """All the time that the reference compiles, others can measure. A gate of its own: other tests measure meanwhile."""
    slow = TASK.source.replace(RIGHT, f"{ENDLESS.format(400)}\n        {RIGHT}")
    compiled: list[RunnerProcess] = []
    began: list[float] = []
    entered: list[float] = []
    ended: list[float] = []
    ask = RunnerProcess.ask
    monkeypatch.setattr("evaluators.runtime.device_lock.machine_folder", lambda: tmp_path)

    def watched(self: RunnerProcess, order: Mapping[str, Any], limit: float) -> Mapping[str, Any]:
        if order["do"] == "reference" and order["compiled"]:
            compiled.append(self)
        if began or order["do"] != "call" or self not in compiled:
            return ask(self, order, limit)
        began.append(time.monotonic())
        threading.Timer(0.5, wait_for_the_lock).start()
        try:
            return ask(self, order, limit)
        finally:
            ended.append(time.monotonic())

    def wait_for_the_lock() -> None:
        with DeviceLock().exclusive():
            entered.append(time.monotonic())

    monkeypatch.setattr(RunnerProcess, "ask", watched)
    compared_apart([GOOD], quick, Task(name="slow", source=slow), compiled=True)
    assert list(tmp_path.iterdir())
    assert ended[0] - began[0] > 2.0
    assert entered[0] - began[0] < 1.5
