"""A kernel that is the reference's own code, timed against the reference, many times.

    python -m scripts.bench.self_timing [--times 200] [--load] [--task NAME ...]

Each time the candidate and the reference get new processes, and the pair is measured as a kernel that is asked about is (settings
`final`), on inputs of shipped tasks on which a call of eager PyTorch takes less than a millisecond. Bars on an idle machine: the interval
of the speedup holds 1.0 in at least 94%, the median of |speedup - 1| is at most 1%. With `--load`, which has another process copy
memory on one core meanwhile: no speedup above 1.05 is reported. In both: measuring takes at most 2 s where a call of eager takes less
than a millisecond. Ends with 1 where one is missed.

Peer: the same blocks, each speedup the quotient of the medians, as a benchmark without interleaved pairs and processes tells it.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from omegaconf import OmegaConf

from devices.cpu import CpuDevice
from evaluators.service.pipeline import Pipeline
from evaluators.settings import EvaluationSettings
from kernelevolve.core.evaluation import Measurement, Ratio
from kernelevolve.core.kernel import Kernel
from kernelevolve.tasks.catalog import find_task

_CONF = Path(__file__).parents[2] / "conf" / "evaluation" / "default.yaml"
TASKS = ("dlrm/swish_layernorm:rows_37", "dlrm/fm_interaction:batch_37", "dlrm/focal_loss:rows_1000")
"""Task and variant; without one, the main inputs."""
_COVERAGE, _DEVIATION, _HIGHEST, _SECONDS = 0.94, 0.01, 1.05, 2.0
_LOAD = "a, b = bytearray(64 << 20), bytearray(64 << 20)\nwhile True: b[:] = a"


@dataclass(frozen=True)
class Decision:
    """One verdict."""

    found: Measurement
    seconds: float
    """That measuring took."""

    @property
    def ratio(self) -> Ratio:
        """Where it was not measured, one that says nothing."""
        return self.found.speedup or Ratio(value=1.0, low=1e-3, high=1e3)

    @property
    def holds_one(self) -> bool:
        return self.ratio.low <= 1.0 <= self.ratio.high

    @property
    def deviation(self) -> float:
        return abs(self.ratio.value - 1.0)

    @property
    def quotient(self) -> float:
        """Of the medians."""
        return abs(self.found.reference_seconds / self.found.kernel_seconds - 1.0)


@contextmanager
def load(wanted: bool) -> Iterator[None]:
    """A process that copies memory without end, on whichever core the system gives it. No child of this one, whose time would count as
    the judge's own."""
    if not wanted:
        yield
        return
    shell = f"{shlex.quote(sys.executable)} -c {shlex.quote(_LOAD)} >&2 & echo $!"
    pid = int(subprocess.run(["sh", "-c", shell], stdout=subprocess.PIPE, check=True).stdout)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)


def decisions(name: str, times: int) -> list[Decision]:
    """Of one task, by one judge."""
    task_name, _, variant = name.partition(":")
    task = find_task(task_name)
    settings = EvaluationSettings.model_validate(OmegaConf.to_container(OmegaConf.load(_CONF)))
    kernel = Kernel(source=f"{task.source}\n\nclass ModelNew(Model):\n    pass\n", language="python")
    found = []
    with closing(Pipeline(task, CpuDevice(), settings)) as pipeline:
        pipeline.warm()
        reference = pipeline.strict.reference()
        case = reference.variants[variant] if variant else reference.main
        artifact = pipeline.compile(kernel)
        for _ in range(times):
            pipeline.strict.pool.end()  # Where the memory of a process lies is part of what is measured.
            pipeline.strict.benchmark().references(settings.final)
            with pipeline.strict.checked_kernel(kernel, artifact, settings.final.kernel_processes) as checked_kernel:
                begin = time.monotonic()
                measured = (
                    pipeline.strict.benchmark().time(kernel, checked_kernel.runners, case, settings.final).measurement
                )
                found.append(Decision(measured, time.monotonic() - begin))
    return found


def row(name: str, made: Sequence[Decision]) -> None:
    call = statistics.median(one.found.reference_seconds for one in made)
    holds = sum(one.holds_one for one in made) / len(made)
    deviation = statistics.median(one.deviation for one in made)
    highest = max(one.ratio.value for one in made)
    seconds = max(one.seconds for one in made)
    width = statistics.median(one.ratio.high / one.ratio.low - 1 for one in made)
    print(
        f"{name:<32}{len(made):>6}{call * 1e6:>9.1f}{holds:>8.1%}{deviation:>11.2%}{width:>8.2%}{highest:>9.3f}{seconds:>9.2f}",
        flush=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=200)
    parser.add_argument("--load", action="store_true")
    parser.add_argument("--task", nargs="+", default=TASKS, metavar="NAME[:VARIANT]")
    options = parser.parse_args()
    print(
        f"{'task':<32}{'times':>6}{'call us':>9}{'holds 1':>8}{'deviation':>11}{'width':>8}{'highest':>9}{'longest s':>10}"
    )
    made: list[Decision] = []
    with load(options.load):
        for place, name in enumerate(options.task):
            share = len(range(place, options.times, len(options.task)))
            if share:
                made += (found := decisions(name, share))
                row(name, found)
    row("all", made)
    ours, peer = (statistics.median(getattr(d, n) for d in made) for n in ("deviation", "quotient"))
    print(f"deviation of the quotient of medians {peer:.2%}, ratio {ours / max(peer, 1e-9):.2f}")
    unmeasured = sum(one.found.speedup is None for one in made)
    if unmeasured:
        print(f"not measured: {unmeasured}")
    slow = [one for one in made if one.found.reference_seconds >= 1e-3]
    if slow:
        print(f"calls of a millisecond or more: {len(slow)}, which the bars are not for")
    missed = []
    if options.load:
        highest = max(one.ratio.value for one in made)
        missed += [f"a speedup of {highest:.3f} is reported, at most {_HIGHEST}"] if highest > _HIGHEST else []
    else:
        holds = sum(one.holds_one for one in made) / len(made)
        missed += [f"the interval holds 1.0 in {holds:.1%}, at least {_COVERAGE:.0%}"] if holds < _COVERAGE else []
        missed += [f"{unmeasured} were not measured"] if unmeasured else []
        missed += [f"the median deviation is {ours:.2%}, at most {_DEVIATION:.0%}"] if ours > _DEVIATION else []
    longest = max((one.seconds for one in made if one not in slow), default=0.0)
    missed += [f"measuring took up to {longest:.2f} s, at most {_SECONDS:g} s"] if longest > _SECONDS else []
    for text in missed:
        print(f"MISSED  {text}")
    print(f"{len(missed)} bars missed" if missed else "all bars met")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
