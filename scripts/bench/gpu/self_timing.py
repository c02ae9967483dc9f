"""On a GPU, a kernel that is the reference's own code, timed against the reference, many times.

    python -m scripts.bench.gpu.self_timing [--times 200] [--device 0]

Each time the candidate gets a new process. Tasks take from 10 us to some milliseconds a call. Bars: the interval of the speedup holds 1.0
in at least 94%, and the median of |speedup - 1| is at most 0.5%. It also tells what an evaluation takes from its source to its verdict.
Ends with 1 where a bar is missed.

Peer: `triton.testing.do_bench` of both in one process, whose quotients of medians are told beside ours.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from omegaconf import OmegaConf

from devices.base import Artifact, Instance
from evaluators.protocols.base import Effort
from evaluators.protocols.strict import StrictProtocol
from evaluators.runtime.device_lock import DeviceLock
from evaluators.runtime.registry import gpu_runtime
from evaluators.settings import EvaluationSettings
from kernelevolve.core.evaluation import Ratio
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.task import Task

_CONF = Path(__file__).parents[3] / "conf" / "evaluation" / "default.yaml"
_COVERAGE, _DEVIATION = 0.94, 0.005
_TASK = """import torch
from torch import nn


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn({width}))

    def forward(self, x):
        return {body}


def get_inputs():
    return [torch.randn({rows}, {width})]


def get_init_inputs():
    return []
"""
TASKS = {
    "gelu": Task(name="gelu", source=_TASK.format(body="torch.nn.functional.gelu(x)", rows=8192, width=4096)),
    "small_add": Task(name="small_add", source=_TASK.format(body="x + self.weight", rows=256, width=1024)),
    "softmax": Task(
        name="softmax", source=_TASK.format(body="torch.softmax(x * self.weight, -1)", rows=4096, width=2048)
    ),
    "matmul": Task(name="matmul", source=_TASK.format(body="x @ x.t() + self.weight.sum()", rows=2048, width=1024)),
}
_PEER = """import sys, runpy, torch
from triton.testing import do_bench
task = runpy.run_path(sys.argv[1])
with torch.no_grad():
    x = [t.cuda() for t in task["get_inputs"]()]
    models = [task["Model"]().cuda() for _ in range(2)]
    for _ in range(int(sys.argv[2])):
        a, b = (do_bench(lambda m=m: m(*x), return_mode="median") for m in models)
        print(a / b)
"""


@dataclass(frozen=True)
class Decision:
    """One verdict."""

    task: str
    ratio: Ratio | None
    seconds: float


def decisions(task: Task, times: int, settings: EvaluationSettings, device: str) -> list[Decision]:
    """Judge copies of a task's reference."""
    found = []
    instance = Instance(lock=f"nvidia-{device}", environment={"CUDA_VISIBLE_DEVICES": device})
    with closing(gpu_runtime(settings, instance)) as runtime:
        protocol = StrictProtocol(task, settings, runtime, DeviceLock(device=runtime.device))
        begin = time.monotonic()
        protocol.prepare()
        print(f"{task.name}: prepared in {time.monotonic() - begin:.1f} s", flush=True)
        for number in range(times):
            source = task.source.replace("class Model(", "class ModelNew(") + f"\n# {number}\n"
            kernel = Kernel(source=source, language="python")
            begin = time.monotonic()
            verdict = protocol.evaluate(kernel, Artifact(kernel_id=kernel.id), Effort(settings.timing, variants=False))
            seconds = time.monotonic() - begin
            if verdict.failure is not None:
                raise SystemExit(f"{task.name}: the copy was refused: {verdict.failure}")
            assert verdict.measurement is not None
            found.append(Decision(task.name, verdict.measurement.speedup, seconds))
            if number == 0:
                print(
                    {name: round(spent, 3) for name, spent in verdict.seconds.items()}, verdict.measurement, flush=True
                )
        protocol.close()
    return found


def peer(task: Task, times: int, folder: Path) -> list[float]:
    """Return the quotients that do_bench gives for two equal models."""
    file = folder / f"{task.name}.py"
    file.write_text(task.source)
    done = subprocess.run(
        [sys.executable, "-c", _PEER, str(file), str(times)], capture_output=True, text=True, check=True
    )
    return [float(line) for line in done.stdout.split()]


def row(name: str, found: Sequence[Decision]) -> str:
    """Return a line about some decisions."""
    ratios = [each.ratio for each in found if each.ratio is not None]
    holds = sum(ratio.low <= 1.0 <= ratio.high for ratio in ratios)
    off = statistics.median(abs(ratio.value - 1) for ratio in ratios) if ratios else float("nan")
    width = statistics.median(ratio.high / ratio.low - 1 for ratio in ratios) if ratios else float("nan")
    seconds = statistics.median(each.seconds for each in found)
    return (
        f"{name:<12} {holds}/{len(found)} hold 1.0   deviation {off:.2%}   width {width:.2%}   {seconds:.2f} s a verdict, "
        f"{len(found) - len(ratios)} not measured"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=200)
    parser.add_argument("--device", default="0", help="number or UUID of the GPU")
    options = parser.parse_args()
    settings = EvaluationSettings.model_validate(OmegaConf.to_container(OmegaConf.load(_CONF)))
    everything: list[Decision] = []
    folder = Path("/tmp/kernelevolve-self-timing")
    folder.mkdir(exist_ok=True)
    for name, task in TASKS.items():
        each = -(-options.times // len(TASKS))
        found = decisions(task, each, settings, options.device)
        everything += found
        quotients = peer(task, min(each, 10), folder)
        print(row(name, found), f"  do_bench: {statistics.median(abs(q - 1) for q in quotients):.2%}", flush=True)
    print(row("all", everything))
    ratios = [each.ratio for each in everything if each.ratio is not None]
    coverage = sum(ratio.low <= 1.0 <= ratio.high for ratio in ratios) / len(everything)
    deviation = statistics.median(abs(ratio.value - 1) for ratio in ratios)
    missed = [coverage < _COVERAGE, deviation > _DEVIATION]
    print(f"{sum(missed)} bars missed" if any(missed) else "all bars met")
    return 1 if any(missed) else 0


if __name__ == "__main__":
    sys.exit(main())
