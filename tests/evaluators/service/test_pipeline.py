"""Verdicts of the real pipeline on kernels in real children."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from devices.cpu import CpuDevice
from devices.toolchains.loader import LOADER
from evaluators.runtime.base import Runtime
from evaluators.runtime.cpu.runner import CpuRunner
from evaluators.service.pipeline import Pipeline
from evaluators.settings import EvaluationSettings
from evaluators.timing.benchmark import SpeedupBenchmark, TimedMeasurement
from kernelevolve.core.errors import UserError
from kernelevolve.core.evaluation import Evaluation, Measurement, Status
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.task import Task
from tests.evaluators.silu_mul import TASK, python_kernel

pytestmark = pytest.mark.alone

RIGHT = "return torch.nn.functional.silu(x) * y * self.scale"

CPP = Kernel(
    language="cpp",
    source=f'''import ctypes
import torch
from torch import nn

CPP_FLAGS = ["-O3", "-march=native"]
CPP_SOURCE = r"""
#include <cmath>
#include <cstdint>
extern "C" void run(const float* x, const float* y, const float* s, float* out, int64_t rows) {{
  #pragma omp parallel for
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < 256; ++c) {{
      const int64_t i = r * 256 + c;
      out[i] = x[i] / (1.0f + std::exp(-x[i])) * y[i] * s[c];
    }}
}}
"""
{LOADER}
_LIBRARY = load_library(CPP_SOURCE, CPP_FLAGS)
_LIBRARY.run.argtypes = [ctypes.c_void_p] * 4 + [ctypes.c_int64]


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.randn(256))

    def forward(self, x, y):
        out = torch.empty_like(x)
        _LIBRARY.run(x.data_ptr(), y.data_ptr(), self.scale.data_ptr(), out.data_ptr(), x.shape[0])
        return out
''',
)


def told(evaluation: Evaluation) -> str:
    assert evaluation.diagnosis is not None
    return f"{evaluation.diagnosis.summary}\n{evaluation.diagnosis.details}"


def test_a_fused_kernel_is_correct_and_measured(pipeline: Pipeline) -> None:
    verdict = pipeline.evaluate(CPP)
    assert verdict.status is Status.OK, verdict.diagnosis
    assert 0.05 < verdict.fitness < 20
    assert set(verdict.seconds) == {"source", "compile", "correctness", "timing"}


def test_the_reference_itself_is_about_as_fast_as_itself(pipeline: Pipeline) -> None:
    verdict = pipeline.evaluate(python_kernel(RIGHT))
    assert verdict.status is Status.OK, verdict.diagnosis
    assert 0.5 < verdict.fitness < 2.0


@pytest.mark.parametrize(
    ("forward", "status", "words"),
    [
        ("return torch.zeros_like(x)", Status.WRONG_RESULT, "zero"),
        (f"return ({RIGHT[7:]}) * 1.05", Status.WRONG_RESULT, "factor 1.05"),
        (f"return ({RIGHT[7:]}).half().float()", Status.WRONG_RESULT, ""),
        (f"return ({RIGHT[7:]})[:-1]", Status.WRONG_SHAPE, "(511, 256)"),
        (f"return ({RIGHT[7:]}).double()", Status.WRONG_SHAPE, "float64"),
        (f"return [{RIGHT[7:]}]", Status.WRONG_SHAPE, "list(tensor)"),
        ("return 'x'", Status.WRONG_SHAPE, "returned str, expected tensor"),
        (f"r = {RIGHT[7:]}; x.zero_(); return r", Status.WRONG_RESULT, "in place"),
        (f"self.n = getattr(self, 'n', 0) + 1; return ({RIGHT[7:]}) * self.n", Status.WRONG_RESULT, "factor 2"),
        (
            "self.b = getattr(self, 'b', torch.empty(512, 256)) if len(x) == 512 else torch.empty(3, 256); "
            f"return self.b.copy_({RIGHT[7:]})",
            Status.WRONG_RESULT,
            "the next call overwrites the result",
        ),
        (f"r = {RIGHT[7:]}; r[-5:] = 0; return r", Status.WRONG_RESULT, "indices 507 to 511"),
        ("assert x.shape[0] == 512; " + RIGHT, Status.RUNTIME_ERROR, "AssertionError"),
        ("raise ValueError('no luck')", Status.RUNTIME_ERROR, "no luck"),
        ("os.kill(os.getpid(), 11)", Status.CRASHED, "SIGSEGV"),
        ("os._exit(0)", Status.CRASHED, "before it returned a result"),
        ("while True: pass", Status.TIMEOUT, "3 s"),
        ("torch.empty(1 << 33).fill_(1); " + RIGHT, Status.OUT_OF_MEMORY, ""),
        ("return torch.full_like(x, float('nan'))", Status.WRONG_RESULT, "NaN"),
    ],
)
def test_verdicts(pipeline: Pipeline, forward: str, status: Status, words: str) -> None:
    verdict = pipeline.evaluate(python_kernel(forward))
    assert verdict.status is status, verdict.diagnosis
    assert words in told(verdict)


def test_a_kernel_that_leaves_inputs_to_the_reference_tells_their_share(pipeline: Pipeline) -> None:
    plain = python_kernel(RIGHT)
    assert pipeline.evaluate(plain).fallback is None
    counts = f"if len(x) == 3: time.sleep(0.01); self.__fallback['calls'] += 1; self.__fallback['seconds'] += 0.01\n        {RIGHT}"
    source = python_kernel(counts, "import time").source
    counting = source.replace("(nn.Module):", "(nn.Module):\n    __fallback = {'calls': 0, 'seconds': 0.0}")
    verdict = pipeline.evaluate(Kernel(source=counting, language="python"))
    assert verdict.fallback is not None, verdict.diagnosis
    assert 0 < verdict.fallback.calls < 0.5
    assert 0 < verdict.fallback.seconds < 1


@pytest.mark.parametrize(
    ("source", "words"),
    [("", "empty"), ("x = (", "line 1"), ("x = 1", "ModelNew"), ("\0", "Python"), ("#" * (5 << 20), "longer")],
)
def test_sources_that_are_none(pipeline: Pipeline, source: str, words: str) -> None:
    verdict = pipeline.evaluate(Kernel(source=source, language="python"))
    assert verdict.status is Status.INVALID_SOURCE
    assert words in told(verdict)


def test_mathematics_without_infinities_is_wrong_for_large_values(pipeline: Pipeline) -> None:
    fast = CPP.source.replace('"-march=native"', '"-march=native", "-ffast-math"')
    verdict = pipeline.evaluate(Kernel(language="cpp", source=fast))
    assert verdict.status is Status.WRONG_RESULT
    assert "values: " in told(verdict)


def test_a_compile_error_shows_the_line(pipeline: Pipeline) -> None:
    verdict = pipeline.evaluate(
        Kernel(language="cpp", source=CPP.source.replace("int64_t c = 0", "int64_t c = nothing"))
    )
    assert verdict.status is Status.COMPILE_ERROR
    assert "nothing" in told(verdict)


def test_children_that_hide_die_with_their_candidate(settings: EvaluationSettings) -> None:
    """Where nothing keeps it from having children."""
    open_house = Pipeline(TASK, CpuDevice(), settings.model_copy(update={"sandbox": False}))
    top = "import signal, time"
    forward = (
        "pid = os.fork()\n"
        "        if pid == 0:\n"
        "            os.setsid(); signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)\n"
        f"        {RIGHT}"
    )
    open_house.evaluate(python_kernel(RIGHT))  # Has the reference's processes started.
    process = open_house.runtime.server._process
    assert process is not None
    server = psutil.Process(process.pid)
    open_house.runtime.server.rest()
    before = {p.pid for p in server.children(recursive=True)}
    verdict = open_house.evaluate(python_kernel(forward, top))
    assert verdict.status in {Status.OK, Status.CRASHED}
    open_house.runtime.server.rest()
    assert {p.pid for p in server.children(recursive=True)} == before
    open_house.close()


def test_nothing_is_left_on_disk(settings: EvaluationSettings) -> None:
    made = Pipeline(TASK, CpuDevice(), settings)
    made.evaluate(python_kernel(RIGHT))
    made.evaluate(python_kernel("os.kill(os.getpid(), 9)"))
    made.runtime.rest()
    scratch, builds = made.runtime.server._base, made.build_dir
    held = {runner.process.folder for runner in made.strict.pool.runners}
    assert set(scratch.iterdir()) == held, "a folder for each process of the reference, none for candidates"
    begin = time.monotonic()
    made.close()
    assert time.monotonic() - begin < 3.0, "the fork server did not end by itself"
    assert not scratch.exists()
    assert not builds.exists()


def test_data_that_another_run_cleared_away_is_computed_again(settings: EvaluationSettings, runtime: Runtime) -> None:
    made = Pipeline(Task(name="cleared", source=TASK.source, seed=77), CpuDevice(), settings, runtime=runtime)
    shutil.rmtree(made.strict.reference().folder)
    assert made.evaluate(python_kernel(RIGHT)).status is Status.OK
    os.utime(made.strict.reference().folder, (0, 0))
    assert made.strict.reference().folder.stat().st_mtime > time.time() - 60, "in use, so it is not old"
    made.close()


def test_secrets_do_not_reach_a_candidate(settings: EvaluationSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "hush")
    made = Pipeline(TASK, CpuDevice(), settings)
    verdict = made.evaluate(python_kernel("raise ValueError(sorted(os.environ))"))
    made.close()
    assert "SOME_API_KEY" not in told(verdict)
    assert "HOME" in told(verdict)


def test_a_dead_fork_server_is_replaced(pipeline: Pipeline) -> None:
    server = pipeline.runtime.server._process
    assert server is not None
    os.kill(server.pid, 9)
    server.wait()
    assert pipeline.evaluate(python_kernel("return x")).status is Status.WRONG_RESULT


def test_a_reference_that_raises_when_timed_is_the_tasks_fault(settings: EvaluationSettings, runtime: Runtime) -> None:
    count = "self.calls = getattr(self, 'calls', 0) + 1; assert self.calls < 4, 'worn out'"
    worn = Task(name="worn", source=TASK.source.replace(RIGHT, f"{count}\n        {RIGHT}"))
    made = Pipeline(worn, CpuDevice(), settings, runtime=runtime)
    with pytest.raises(
        UserError,
        match=r"task worn: the reference cannot be timed: (forward|a timed call) raised AssertionError: worn out",
    ):
        made.evaluate(python_kernel(RIGHT))
    made.close()


def test_a_reference_too_slow_to_be_timed_is_the_tasks_fault(settings: EvaluationSettings, runtime: Runtime) -> None:
    slow = Task(name="slow", source=TASK.source.replace(RIGHT, f"__import__('time').sleep(0.3)\n        {RIGHT}"))
    made = Pipeline(slow, CpuDevice(), settings.model_copy(update={"run_timeout": 1.0}), runtime=runtime)
    with pytest.raises(UserError, match=r"raise evaluation\.run_timeout"):
        made.evaluate(python_kernel(RIGHT))
    made.close()


def test_a_kernel_that_breaks_what_the_reference_uses_breaks_only_itself(pipeline: Pipeline) -> None:
    top = "silu = torch.nn.functional.silu\ndel torch.nn.functional.silu"
    assert pipeline.evaluate(python_kernel("return silu(x) * y * self.scale", top)).status is Status.OK
    assert pipeline.evaluate(python_kernel(RIGHT)).status is Status.OK


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("* y", "* nothing"), "nothing"),
        (("return torch.nn.functional.silu(x) * y * self.scale", "return 7"), "no tensor"),
        (("silu(x)", "dropout(x)"), "deterministic"),
        (
            ("return torch", "self.scale.add_(1); return torch"),
            "a second call gives another result: it depends on scale",
        ),
        (("torch.randn(512, 256), torch.randn", "torch.empty(1 << 40), torch.randn"), "memory"),
    ],
)
def test_tasks_at_fault(settings: EvaluationSettings, runtime: Runtime, change: tuple[str, str], words: str) -> None:
    broken = Task(name="broken", source=TASK.source.replace(*change))
    with (
        closing(Pipeline(broken, CpuDevice(), settings, runtime=runtime)) as made,
        pytest.raises(UserError, match=words),
    ):
        made.warm()


def test_what_seems_better_than_the_best_is_measured_again_in_other_processes(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = python_kernel(f"{RIGHT}  # new")
    measured: list[tuple[set[int], Measurement]] = []
    time_it = SpeedupBenchmark.time

    def watched(self: SpeedupBenchmark, kernel: Kernel, runners: Sequence[CpuRunner], *rest: Any) -> TimedMeasurement:
        found = time_it(self, kernel, runners, *rest)
        everyone = {runner.process.pid for runner in (*runners, *pipeline.strict.pool.runners)}
        measured.append((everyone, found.measurement))
        return found

    monkeypatch.setattr(SpeedupBenchmark, "time", watched)
    told = pipeline.evaluate(kernel, best=0.0)
    [(before, first), (after, second)] = measured
    assert not before & after
    assert told.measurement in ((first, second) if second.speedup is None else (second,))
    assert first != second
    measured.clear()
    assert pipeline.evaluate(kernel, best=1000.0).status is Status.OK
    assert pipeline.evaluate(kernel).status is Status.OK
    assert len(measured) == 2, "nobody compares, or it is far behind"


def test_a_kernel_a_thousand_times_slower_than_the_reference_is_slow_and_no_timeout() -> None:
    """Blocks have as many calls as a fast reference wants, unless a slow kernel would then take seconds for each."""
    plain = yaml.safe_load((Path(__file__).parents[3] / "conf/evaluation/default.yaml").read_text())
    settings = EvaluationSettings.model_validate({**plain, "run_timeout": 3.0})
    model = "class {}(torch.nn.Module):\n    def forward(self, x):\n        {}return x + 1\n"
    inputs = "def get_inputs():\n    return [torch.randn(8, 8)]\n\n\ndef get_init_inputs():\n    return []\n"
    task = Task(name="tiny", source=f"import torch\n\n\n{model.format('Model', '')}\n\n{inputs}")
    slow = f"import time\nimport torch\n\n\n{model.format('ModelNew', 'time.sleep(0.04); ')}"
    with closing(Pipeline(task, CpuDevice(), settings)) as pipeline:
        found = pipeline.evaluate(Kernel(source=slow, language="python"))
    assert found.status is Status.OK, found.diagnosis
    assert found.fitness < 0.1
    assert found.speedup is None or found.speedup.high < 0.1
