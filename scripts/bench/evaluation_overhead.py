"""What judging a compiled kernel costs besides its calls, and against one fresh interpreter for each kernel.

    python -m scripts.bench.evaluation_overhead [--count 60] [--fresh 10] [--side-by-side 2]

A trivial kernel in C++ goes the whole way, with the settings of a search: source, compiled already, correctness on all cases, timing.
Overhead is the wall time of an evaluation less that of the timed blocks on the fork server's clock. The peer is an interpreter for each
kernel that imports torch, loads the compiled kernel, compares one result and times ten calls of each side. Bars: the median overhead is
at most 80 ms, and a judge does at least 20 times as many evaluations per second. Both work alone for it: an interpreter whose neighbour
imports torch measures nothing. What several do side by side is told as well. Ends with 1 where a bar is missed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from devices.cpu import CpuDevice
from devices.toolchains.loader import LOADER
from evaluators.runtime.cpu.fork_server import ForkServer
from evaluators.runtime.cpu.runtime import CpuRuntime
from evaluators.runtime.registry import cpu_runtime
from evaluators.service.pipeline import Pipeline
from evaluators.settings import EvaluationSettings
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.task import Task

_ROOT = Path(__file__).resolve().parents[2]
_MAX_SECONDS = 0.080
_LEAST_RATIO = 20.0
_WARM_UP = 3

TASK = Task(
    name="add_one",
    source="""import torch
from torch import nn


class Model(nn.Module):
    def forward(self, x):
        return x + 1


def get_inputs():
    return [torch.randn(64, 64)]


def get_init_inputs():
    return []
""",
)

KERNEL = f'''import ctypes

import torch
from torch import nn

CPP_FLAGS = ["-O3", "-march=native"]
CPP_SOURCE = r"""
#include <cstdint>
extern "C" void run(const float* x, float* y, int64_t n) {{
  for (int64_t i = 0; i < n; ++i) y[i] = x[i] + 1.0f;
}}
"""
{LOADER}
library = load_library(CPP_SOURCE, CPP_FLAGS)
library.run.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]


class ModelNew(nn.Module):
    def forward(self, x):
        y = torch.empty_like(x)
        library.run(x.data_ptr(), y.data_ptr(), x.numel())
        return y
'''

_FRESH = """import runpy, sys, time
import torch

task, kernel = (runpy.run_path(path) for path in sys.argv[1:])
with torch.no_grad():
    inputs = task["get_inputs"]()
    reference, model = task["Model"](), kernel["ModelNew"]()
    assert torch.allclose(reference(*inputs), model(*inputs), rtol=1e-4, atol=1e-4)
    for timed in (reference, model):
        for _ in range(10):
            begin = time.perf_counter()
            timed(*inputs)
            seconds = time.perf_counter() - begin
"""


@dataclass
class Spent:
    """Seconds of an evaluation: of the whole, and by stage."""

    whole: float
    stages: dict[str, float] = field(default_factory=dict)

    @property
    def overhead(self) -> float:
        return self.whole - self.stages["timed blocks"]


class _Timed(ForkServer):
    """Adds up the seconds of orders by what they are for, and those of blocks on the server's clock."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.seconds: dict[str, float] = defaultdict(float)

    def order(self, order: Mapping[str, Any], fds: Sequence[int] = ()) -> dict[str, Any]:
        begin = time.perf_counter()
        answer = super().order(order, fds)
        kind = order["message"]["do"] if order["op"] == "ask" else order["op"]
        self.seconds[kind] += time.perf_counter() - begin
        self.seconds["timed blocks"] += sum(block.get("nanoseconds", 0) for block in answer.get("blocks", ())) / 1e9
        return answer


def settings() -> EvaluationSettings:
    return EvaluationSettings.model_validate(
        OmegaConf.to_container(OmegaConf.load(_ROOT / "conf/evaluation/default.yaml"))
    )


def evaluated(pipeline: Pipeline, number: int) -> Spent:
    """One more kernel, never seen before, whose library is there already."""
    assert isinstance(pipeline.runtime, CpuRuntime)
    server = pipeline.runtime.server
    assert isinstance(server, _Timed)
    kernel = Kernel(source=f"{KERNEL}\n# {number}\n", language="cpp")
    server.seconds.clear()
    begin = time.perf_counter()
    verdict = pipeline.evaluate(kernel)
    whole = time.perf_counter() - begin
    if verdict.diagnosis:
        raise SystemExit(f"the kernel was refused: {verdict.diagnosis.summary}")
    orders, clock = server.seconds, verdict.seconds
    loading = orders["spawn"] + orders["kernel"] + orders["build"]
    stages = {
        "source, compile cache": clock["source"] + clock["compile"],
        "spawn and load": loading,
        "checks": clock["correctness"] - loading,
        "timing, but for its blocks": clock["timing"] - orders["timed blocks"],
        "timed blocks": orders["timed blocks"],
    }
    return Spent(whole, {**stages, "end": whole - sum(stages.values())})


def judge(place: int, count: int, builds: Path, start: Barrier, pipe: Any) -> None:
    """In a process of its own: judge so many kernels once all judges are warm; send what they took, and when they began and ended."""
    chosen = settings()
    with (
        closing(cpu_runtime(chosen, _Timed)) as runtime,
        closing(Pipeline(TASK, CpuDevice(), chosen, builds, runtime=runtime)) as pipeline,
    ):
        pipeline.warm()
        for number in range(_WARM_UP):
            evaluated(pipeline, -1 - number)
        start.wait()
        begin = time.monotonic()
        spent = [evaluated(pipeline, place * count + i) for i in range(count)]
        pipe.send((spent, begin, time.monotonic()))


def judged(judges: int, count: int, builds: Path) -> tuple[list[Spent], float]:
    """(of each evaluation, evaluations per second) with so many judges side by side, `count` kernels each."""
    spawn = multiprocessing.get_context("spawn")
    start = spawn.Barrier(judges)
    pipes = []
    for place in range(judges):
        ours, theirs = spawn.Pipe(duplex=False)
        spawn.Process(target=judge, args=(place, count, builds, start, theirs), daemon=True).start()
        theirs.close()
        pipes.append(ours)
    told = [pipe.recv() for pipe in pipes]
    seconds = max(end for _, _, end in told) - min(begin for _, begin, _ in told)
    return [one for spent, _, _ in told for one in spent], judges * count / seconds


def fresh(count: int, side_by_side: int, builds: Path) -> tuple[list[float], float]:
    """(seconds of each, interpreters per second)"""
    with tempfile.TemporaryDirectory(prefix="kernelevolve-bench-") as folder:
        task, kernel = Path(folder, "task.py"), Path(folder, "kernel.py")
        task.write_text(TASK.source)
        kernel.write_text(KERNEL)
        environment = {**os.environ, "KERNELEVOLVE_BUILD_DIR": str(builds)}

        def one(_: int) -> float:
            begin = time.perf_counter()
            subprocess.run([sys.executable, "-c", _FRESH, str(task), str(kernel)], env=environment, check=True)
            return time.perf_counter() - begin

        one(0)  # Has the files read from disk.
        begin = time.perf_counter()
        with ThreadPoolExecutor(side_by_side) as pool:
            seconds = list(pool.map(one, range(count)))
        return seconds, count / (time.perf_counter() - begin)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=60, help="evaluations of each judge")
    parser.add_argument("--fresh", type=int, default=10, help="interpreters")
    parser.add_argument("--side-by-side", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kernelevolve-bench-") as builds:
        alone, rate_alone = judged(1, options.count, Path(builds))
        together, rate = judged(options.side_by_side, options.count, Path(builds))
        seconds, peer_alone = fresh(options.fresh, 1, Path(builds))
        _, peer = fresh(options.fresh, options.side_by_side, Path(builds))
    overhead = statistics.median(one.overhead for one in alone)
    print(f"one judge, {options.count} evaluations, median ms")
    for stage in alone[0].stages:
        print(f"  {stage:<28}{statistics.median(one.stages[stage] for one in alone) * 1e3:8.1f}")
    print(f"  {'whole':<28}{statistics.median(one.whole for one in alone) * 1e3:8.1f}")
    print(f"  {'overhead':<28}{overhead * 1e3:8.1f}   at most {_MAX_SECONDS * 1e3:.0f}")
    print(f"evaluations per second: {rate_alone:.2f} by one judge, {rate:.2f} by {options.side_by_side} side by side")
    print(
        f"  overhead side by side, waiting for each other included: {statistics.median(o.overhead for o in together) * 1e3:.1f} ms"
    )
    print(
        f"fresh interpreters per second: {peer_alone:.2f} alone, each {statistics.median(seconds):.2f} s, "
        f"{peer:.2f} by {options.side_by_side} side by side"
    )
    ratio = rate_alone / peer_alone
    print(f"ratio {ratio:.1f}, at least {_LEAST_RATIO:.0f}; side by side {rate / peer:.1f}")
    missed = [overhead > _MAX_SECONDS, ratio < _LEAST_RATIO]
    print(f"{sum(missed)} bars missed" if any(missed) else "all bars met")
    return 1 if any(missed) else 0


if __name__ == "__main__":
    sys.exit(main())
