"""What the search itself costs: islands with an instant operator.

    python -m scripts.bench.archipelago_throughput [--nodes 100000] [--search NAME] [--skip-busy] [--peer PYTHON]

Four islands on two cores, evaluations that take no time: durable nodes per second over the first thousand nodes and over the last, memory
of the driver and of each island at the end, and how long a resumed run takes to its first new node. Then evaluations that sleep 100 ms in
64 slots, 16 of each island, which has as many candidates more under way: the share of the slots that is busy. Bars: 150 nodes per
second at both ends, the last at least 0.85 of the first; 500 MB each; 10 s to the first new node; 90% busy. Ends with 1 where one is
missed.

Peer: openevolve, in an environment of its own whose Python is given, see `openevolve_peer.py`. It has as many worker processes as there
are cores here; the ratio is that of the rates over as many of its iterations as of our nodes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import ray
from omegaconf import OmegaConf

from islands.archipelago import Archipelago
from islands.island import SearchPlan
from islands.settings import IslandSettings
from kernelevolve.core.budget import Budget
from kernelevolve.core.target import Target
from kernelevolve.core.task import Task
from scripts.bench.doubles import InstantEvaluator, InstantOperator, SleepingEvaluator

_CONF = Path(__file__).parents[2] / "conf"
_SEARCHES = sorted(path.stem for path in (_CONF / "search").glob("*.yaml"))
_RATE, _RATIO, _MEGABYTES, _RESUME_SECONDS, _BUSY = 150.0, 0.85, 500.0, 10.0, 0.90
_WINDOW = 1000
_SLOTS, _SLEEP_SECONDS, _BUSY_NODES = 64, 0.1, 6000
_AHEAD = _SLOTS // 4
"""Candidates of an island that are proposed, wait for a slot or are written, while its slots are busy."""


@dataclass(frozen=True)
class Watched:
    """A run: (seconds, nodes) now and then, and what the processes held at its end."""

    marks: Sequence[tuple[float, int]]
    megabytes: dict[str, float]

    @property
    def seconds_to_first(self) -> float:
        """From the start to the first node that was not there before."""
        return next((at for at, nodes in self.marks if nodes > self.marks[0][1]), self.marks[-1][0])

    def rate(self, first: int, last: int) -> float:
        """Nodes per second between the marks that enclose two counts."""
        inside = [mark for mark in self.marks if first <= mark[1] <= last]
        if len(inside) < 2:
            return 0.0
        (start, before), (end, after) = inside[0], inside[-1]
        return (after - before) / (end - start)


def watch(folder: Path, nodes: int, search: str, evaluator: Any, **settings: int) -> Watched:
    """Run until the folder holds so many nodes."""
    islands: dict[str, Any] = dict(OmegaConf.load(_CONF / "islands" / "default.yaml"))  # type: ignore[arg-type]
    strategy: Any = OmegaConf.to_container(OmegaConf.load(_CONF / "search" / f"{search}.yaml"))
    plan = SearchPlan(
        run="bench",
        task=Task(name="instant", source=""),
        target=Target(device="none", vendor="none", arch="none"),
        operator=InstantOperator(),
        evaluator=evaluator,
        settings=IslandSettings(**islands | {"count": 4} | settings),
        seed=0,
    )
    began = time.perf_counter()
    marks: list[tuple[float, int]] = []
    with Archipelago(folder=folder, budget=Budget(evaluations=nodes), plan=plan, strategies=[strategy]) as archipelago:
        for progress in archipelago.watch(0.1):
            marks.append((time.perf_counter() - began, progress.nodes))
        return Watched(marks, _megabytes())


def _megabytes() -> dict[str, float]:
    """Resident, of the driver and of the actors of a run."""
    found = {"driver": psutil.Process(os.getpid()).memory_info().rss / 1e6}
    for process in psutil.Process().children(recursive=True):
        title = " ".join(process.cmdline()).strip()
        if title.startswith(("ray::Island", "ray::StoreActor")):
            found[f"{title} {process.pid}"] = process.memory_info().rss / 1e6
    return found


def scale(folder: Path, nodes: int, search: str) -> tuple[Watched, list[str]]:
    """Prints the figures of a long run and of going on with it; returns the run and what is missed."""
    long = watch(folder, nodes, search, InstantEvaluator())
    first, last = long.rate(0, _WINDOW), long.rate(nodes - _WINDOW, nodes)
    print(f"nodes per second  {first:.0f} over the first {_WINDOW}, {last:.0f} over the last {_WINDOW} of {nodes}")
    print(f"ratio             {last / first:.2f}, at least {_RATIO}")
    for name, megabytes in long.megabytes.items():
        print(f"memory            {megabytes:.0f} MB {name}")
    again = watch(folder, nodes + 200, search, InstantEvaluator())
    print(f"first new node    {again.seconds_to_first:.1f} s after resuming, at most {_RESUME_SECONDS:g}")
    largest = max(size for name, size in long.megabytes.items() if "Store" not in name)
    return long, [
        text
        for missed, text in (
            (min(first, last) < _RATE, f"{min(first, last):.0f} nodes per second, at least {_RATE:g}"),
            (last < _RATIO * first, f"the last rate is {last / first:.2f} of the first, at least {_RATIO}"),
            (largest > _MEGABYTES, f"{largest:.0f} MB, at most {_MEGABYTES:g}"),
            (again.seconds_to_first > _RESUME_SECONDS, f"{again.seconds_to_first:.1f} s to the first new node"),
        )
        if missed
    ]


def beside(peer: str, iterations: int, ours: Watched) -> None:
    """Prints the peer's figures and the ratio to ours."""
    program = Path(__file__).with_name("openevolve_peer.py")
    told = subprocess.run(
        [peer, str(program), str(iterations), str(os.cpu_count())],
        env={**os.environ, "PYTHONPATH": str(program.parent)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout.splitlines()
    marks = [(mark["seconds"], mark["iterations"]) for mark in map(json.loads, told)]
    theirs = Watched([(0.0, 0), *marks], {})
    most = marks[-1][1]
    print(
        f"openevolve        {theirs.rate(0, most):.1f} per second over {most}, {theirs.rate(most // 2, most):.1f} over the last half"
    )
    print(f"ratio to it       {ours.rate(0, most) / theirs.rate(0, most):.1f}")


def busy(folder: Path, search: str) -> list[str]:
    """Prints the share of the slots that is busy in the middle of a run; returns what is missed."""
    evaluator = SleepingEvaluator(_SLEEP_SECONDS, _SLOTS // 4)
    found = watch(folder, _BUSY_NODES, search, evaluator, in_flight=_SLOTS // 4 + _AHEAD)
    rate = found.rate(_BUSY_NODES // 4, _BUSY_NODES * 3 // 4)
    share = rate * _SLEEP_SECONDS / _SLOTS
    print(f"slots busy        {share:.1%} of {_SLOTS} ({rate:.0f} evaluations per second), at least {_BUSY:.0%}")
    return [f"{share:.1%} of the slots are busy, at least {_BUSY:.0%}"] if share < _BUSY else []


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=100_000)
    parser.add_argument("--search", default="evolutionary", choices=_SEARCHES)
    parser.add_argument("--skip-busy", action="store_true")
    parser.add_argument("--peer", metavar="PYTHON", help="of an environment with openevolve")
    parser.add_argument("--peer-iterations", type=int, default=1000)
    options = parser.parse_args()
    ray.init(address="local", num_cpus=2, include_dashboard=False, logging_level="error", log_to_driver=False)
    with tempfile.TemporaryDirectory(prefix="kernelevolve-bench-") as scratch:
        run, missed = scale(Path(scratch, "scale"), options.nodes, options.search)
        if options.peer:
            beside(options.peer, options.peer_iterations, run)
        if not options.skip_busy:
            missed += busy(Path(scratch, "busy"), options.search)
    ray.shutdown()
    for text in missed:
        print(f"MISSED  {text}")
    print(f"{len(missed)} bars missed" if missed else "all bars met")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
