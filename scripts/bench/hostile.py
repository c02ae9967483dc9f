"""Thousands of evaluations, a fifth of them of kernels that hang, crash, take memory, fork, or ignore signals.

    python -m scripts.bench.hostile [--count 10000] [--judges 2] [--seed 0] [--limit 0.75] [--only TEXT]

Judges work side by side, each a process with a pipeline and its fork server, as behind a search. Bars: every kernel gets a verdict of its
kind; who exceeds its time is dead, with all that descends from it, at most 0.5 s later; nothing is left: no process, file, segment of
shared memory or descriptor; resident memory of judges and fork servers grows by less than 5% after the warm-up. Ends with 1 where one is
missed. `--only` takes the kinds whose names hold the text. Nothing else may run meanwhile that leaves files in /dev/shm or /tmp.

Peer: honest kernels judged in the first tenth of the run; the ratio says whether abuse made judging slower.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from devices.cpu import CpuDevice
from evaluators.runtime.cpu.child import become_subreaper
from evaluators.runtime.cpu.fork_server import ForkServer
from evaluators.runtime.registry import cpu_runtime
from evaluators.scratch import scratch_base
from evaluators.service.pipeline import Pipeline
from evaluators.settings import EvaluationSettings
from scripts.bench.hostile_kernels import HONEST, HOSTILE, TASK, Kind, mixture
from scripts.bench.residue import TensorElements, children, entries, segments

_CONF = Path(__file__).parents[2] / "conf" / "evaluation" / "default.yaml"
_SHARE = 0.2
_LATEST = 0.5
"""Seconds from a limit to the death."""
_GROWTH = 0.05
_MEMORY_GB = 0.0625
_WARM_UP = 3
"""Evaluations of each kind before memory is first looked at."""


class _Timed(ForkServer):
    """Notes how long after its limit a player was dead and buried."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.late: list[float] = []
        self.processes: set[int] = set()

    def order(self, order: Mapping[str, Any], fds: Sequence[int] = ()) -> dict[str, Any]:
        begin = time.monotonic()
        answer = super().order(order, fds)
        if "process" in answer:
            self.processes.add(answer["process"])
        if answer.get("ended", {}).get("timeout"):
            self.late.append(time.monotonic() - begin - order["limit"])
        return answer


@dataclass
class Findings:
    """Of one judge."""

    statuses: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    late: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    complaints: list[str] = field(default_factory=list)
    honest: list[float] = field(default_factory=list)
    """Seconds of each honest evaluation, in turn."""
    before: TensorElements | None = None
    after: TensorElements | None = None


def light(limit: float) -> EvaluationSettings:
    """The defaults with few derived inputs and next to no timing."""
    plain: Any = OmegaConf.to_container(OmegaConf.load(_CONF))
    timing = {"reference_processes": 1, "kernel_processes": 1, "warmup_calls": 1, "block_seconds": 1e-4}
    timing |= {"min_rounds": 4, "max_rounds": 4, "max_seconds": 0.05}
    return EvaluationSettings.model_validate(
        {
            **plain,
            "trials": 1,
            "max_draws": 2,
            "inputs": {**plain["inputs"], "shapes": 1, "values": 1, "nonfinite": False},
            "timing": {**plain["timing"], **timing},
            "final": {**plain["final"], **timing},
            "run_timeout": limit,
            "memory_gb": _MEMORY_GB,
        }
    )


def judge(work: Sequence[tuple[int, Kind]], limit: float, builds: Path, pipe: Connection) -> None:
    """Judge all, in this process; send (number done) now and then, and the findings at the end."""
    settings = light(limit)
    found = Findings()
    with (
        closing(cpu_runtime(settings, _Timed)) as runtime,
        closing(Pipeline(TASK, CpuDevice(), settings, builds, runtime=runtime)) as pipeline,
    ):
        server = runtime.server
        pipeline.warm()
        for number, kind in enumerate((*HONEST, *HOSTILE) * _WARM_UP):
            pipeline.evaluate(kind.kernel(-1 - number))
        process = server._process
        if process is None:
            raise RuntimeError("no fork server after the warm-up")
        gc.collect()
        found.before = TensorElements.by(os.getpid(), process.pid)
        for done, (number, kind) in enumerate(work):
            _judge_one(pipeline, server, number, kind, found)
            if done % 50 == 49:
                pipe.send(50)
        gc.collect()
        if server.generation != 1:
            found.complaints.append(f"the fork server died {server.generation - 1} times")
        elif server._process is not None:
            found.after = TensorElements.by(os.getpid(), server._process.pid)
    found.complaints += [f"{name} is left in a judge's folder" for name in entries(server._base)]
    pipe.send(found)


def _judge_one(pipeline: Pipeline, server: _Timed, number: int, kind: Kind, found: Findings) -> None:
    server.late.clear()
    server.processes.clear()
    begin = time.monotonic()
    verdict = pipeline.evaluate(kind.kernel(number))
    seconds = time.monotonic() - begin
    server.rest()
    found.statuses[kind.name][verdict.status] += 1
    found.late[kind.name] += server.late
    if kind in HONEST:
        found.honest.append(seconds)
    if verdict.status not in kind.expected:
        words = verdict.diagnosis.summary if verdict.diagnosis else ""
        found.complaints.append(f"{number} {kind.name}: {verdict.status} {words[:150]}")
    found.complaints += [f"{number} {kind.name}: dead {late:.2f} s late" for late in server.late if late > _LATEST]
    held = [runner.process for runner in pipeline.strict.pool.runners]
    gone = server.processes - {process.pid for process in held}
    found.complaints += [
        f"{number} {kind.name}: process {pid} is left" for pid in gone if Path(f"/proc/{pid}").exists()
    ]
    process = server._process
    if process is not None:
        stray = children(process.pid) - {process.pid for process in held}
        found.complaints += [f"{number} {kind.name}: process {pid} descends from it" for pid in stray]
    files = entries(server._base) - {str(process.folder) for process in held}
    found.complaints += [f"{number} {kind.name}: {path} is left" for path in files]


def run(work: Sequence[tuple[int, Kind]], judges: int, limit: float) -> list[Findings]:
    """Side by side."""
    spawn = multiprocessing.get_context("spawn")
    found: list[Findings] = []
    with tempfile.TemporaryDirectory(prefix="kernelevolve-bench-") as builds:
        pipes: list[Connection] = []
        processes = []
        for place in range(judges):
            ours, theirs = spawn.Pipe(duplex=False)
            processes.append(
                spawn.Process(target=judge, args=(work[place::judges], limit, Path(builds), theirs), daemon=True)
            )
            processes[-1].start()
            theirs.close()
            pipes.append(ours)
        done, begin, told = 0, time.monotonic(), time.monotonic()
        while pipes:
            for pipe in wait(pipes):
                try:
                    news = pipe.recv()  # type: ignore[union-attr]
                except EOFError:
                    pipes.remove(pipe)  # type: ignore[arg-type]
                    continue
                if isinstance(news, Findings):
                    found.append(news)
                else:
                    done += news
            if time.monotonic() - told > 20:
                told = time.monotonic()
                print(f"  {done} of {len(work)} after {told - begin:.0f} s", flush=True)
        for process in processes:
            process.join()
    if len(found) < judges:
        raise SystemExit("a judge died")
    return found


def table(found: Sequence[Findings], kinds: Sequence[Kind]) -> None:
    """One row for each kind."""
    print(f"\n{'kind':<28}{'judged':>8}{'as expected':>13}{'latest death':>14}   verdicts")
    for kind in kinds:
        counts: Counter[str] = sum((f.statuses[kind.name] for f in found), Counter())
        late = [x for f in found for x in f.late[kind.name]]
        right = sum(n for status, n in counts.items() if status in kind.expected)
        latest = f"{max(late):.3f} s" if late else "-"
        words = ", ".join(f"{n} {status}" for status, n in counts.most_common())
        print(f"{kind.name:<28}{counts.total():>8}{right:>13}{latest:>14}   {words}")


def growth(found: Sequence[Findings]) -> list[str]:
    """Prints what judges and fork servers hold before and after; returns what is too much."""
    complaints = []
    for place, one in enumerate(found):
        if one.before is None or one.after is None:
            complaints.append(f"judge {place}: nothing to compare")
            continue
        for who in ("judge", "server"):
            before, after = (getattr(held, f"{who}_bytes") for held in (one.before, one.after))
            share = after / before - 1
            print(f"{who} {place}: RSS {before / 1e6:.0f} -> {after / 1e6:.0f} MB ({share:+.1%})", end="")
            if share > _GROWTH:
                complaints.append(f"{who} {place}: RSS grew by {share:.1%}")
            for what in ("descriptors", "children"):
                before, after = (getattr(held, f"{who}_{what}") for held in (one.before, one.after))
                print(f", {what} {before} -> {after}", end="")
                if after > before:
                    complaints.append(f"{who} {place}: {after - before} more {what}")
            print()
    return complaints


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--judges", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=0.75, help="seconds that a kernel has")
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    become_subreaper()  # Whatever escapes a judge that ended is found among the children of this process.
    work = [(i, kind) for i, kind in mixture(options.count, options.seed, _SHARE) if options.only in kind.name]
    folders = (scratch_base(), Path(tempfile.gettempdir()))
    files, shared = entries(*folders), segments()
    begin = time.monotonic()
    found = run(work, options.judges, options.limit)
    seconds = time.monotonic() - begin
    complaints = [text for one in found for text in one.complaints]
    table(found, [kind for kind in (*HONEST, *HOSTILE) if options.only in kind.name])
    print()
    complaints += growth(found)
    tracker = multiprocessing.resource_tracker._resource_tracker._pid  # type: ignore[attr-defined]
    complaints += [f"process {pid} is left" for pid in children(os.getpid()) - {tracker}]
    complaints += [f"{path} is left" for path in sorted(entries(*folders) - files) if "kernelevolve-data" not in path]
    complaints += [f"shared memory is left: {line}" for line in segments() - shared]
    late = [x for one in found for of_kind in one.late.values() for x in of_kind]
    honest = [one.honest for one in found if len(one.honest) >= 20]
    print(
        f"{len(work)} evaluations by {options.judges} judges in {seconds:.0f} s, {len(work) / seconds:.1f} per second"
    )
    if late:
        print(
            f"from limit to death: median {statistics.median(late) * 1e3:.0f} ms, most {max(late) * 1e3:.0f} ms of {len(late)}"
        )
    if honest:
        first = statistics.median(x for times in honest for x in times[: len(times) // 10])
        last = statistics.median(x for times in honest for x in times[-(len(times) // 10) :])
        print(
            f"an honest kernel: {first * 1e3:.1f} ms in the first tenth, {last * 1e3:.1f} ms in the last, ratio {last / first:.2f}"
        )
    for text in complaints[:50]:
        print(f"MISSED  {text}")
    print(f"{len(complaints)} bars missed" if complaints else "all bars met")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
