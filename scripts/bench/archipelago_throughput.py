"""Durable nodes per second of four islands with an instant operator and an instant evaluator.

    python -m scripts.bench.archipelago_throughput [NODES] [--search evolutionary] [--folder DIR]

Prints the rate over the first thousand nodes and over the last thousand, and the memory of the actors at the end. A
folder that is given is kept, and gone on with if it holds nodes.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import ray
from omegaconf import OmegaConf

from islands.archipelago import Archipelago
from islands.island import Plan
from islands.settings import IslandSettings
from kernelevolve.core.budget import Budget
from kernelevolve.core.task import Task
from scripts.bench.doubles import InstantEvaluator, InstantOperator

_CONF = Path(__file__).parents[2] / "conf"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nodes", nargs="?", type=int, default=2000)
    parser.add_argument("--search", default="evolutionary", choices=("greedy", "evolutionary"))
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    ray.init(num_cpus=2, include_dashboard=False, logging_level="error", log_to_driver=False)
    with tempfile.TemporaryDirectory() as scratch:
        measure(options.folder or Path(scratch) / "run", options.nodes, options.search)
    ray.shutdown()


def measure(folder: Path, nodes: int, search: str) -> None:
    """Run until the folder holds `nodes` nodes and print the figures."""
    islands: dict[str, Any] = dict(OmegaConf.load(_CONF / "islands" / "default.yaml"))  # type: ignore[arg-type]
    strategy: dict[str, Any] = dict(OmegaConf.load(_CONF / "search" / f"{search}.yaml"))  # type: ignore[arg-type]
    plan = Plan(
        run="bench",
        task=Task(name="instant", source=""),
        device="none",
        facts={},
        operator=InstantOperator(),
        evaluator=InstantEvaluator(),
        settings=IslandSettings(**islands | {"count": 4}),
        seed=0,
    )
    began = time.perf_counter()
    marks: list[tuple[float, int]] = []
    with Archipelago(folder=folder, budget=Budget(evaluations=nodes), plan=plan, strategies=[strategy]) as archipelago:
        for progress in archipelago.watch(0.1):
            marks.append((time.perf_counter() - began, progress.nodes))
        actors = _actors()
    start = marks[0][1]
    print(f"nodes             {marks[-1][1]} ({start} at the start)")
    print(f"first new node    after {next((at for at, count in marks if count > start), marks[-1][0]):.1f} s")
    print(f"first thousand    {_rate(marks, start, start + 1000):.0f} nodes/s")
    print(f"last thousand     {_rate(marks, marks[-1][1] - 1000, marks[-1][1]):.0f} nodes/s")
    for name, megabytes in actors:
        print(f"memory            {megabytes:.0f} MB {name}")


def _rate(marks: list[tuple[float, int]], first: int, last: int) -> float:
    """Nodes per second between the marks that enclose two counts."""
    inside = [mark for mark in marks if first <= mark[1] <= last]
    (start, before), (end, after) = inside[0], inside[-1]
    return (after - before) / (end - start) if end > start else 0.0


def _actors() -> list[tuple[str, float]]:
    names = ("ray::Island", "ray::StoreActor")
    processes = [process for process in psutil.Process().children(recursive=True) if process.is_running()]
    titles = [(process, " ".join(process.cmdline())) for process in processes]
    return [(title.strip(), process.memory_info().rss / 1e6) for process, title in titles if title.startswith(names)]


if __name__ == "__main__":
    main()
