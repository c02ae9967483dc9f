"""`kernelevolve replay`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kernelevolve.commands.arguments import parser
from kernelevolve.core.errors import UserError

if TYPE_CHECKING:
    from kernelevolve.experiments.tabular.jobs import Job

NOTE = "A setting may list values: `kernelevolve replay pffn search=mcts,evolutionary,random --runs 100`"
_NEWS = 10
"""The number of progress lines."""


def main(arguments: Sequence[str]) -> int:
    """Run searches on a table of kernels that were measured before, and compare them."""
    line = parser("replay", "Compare searches on a table of measured kernels. No kernel is evaluated.", NOTE)
    line.add_argument("table", help="a file that `kernelevolve tabulate` wrote, or a shipped table's name")
    line.add_argument(
        "settings",
        nargs="*",
        metavar="KEY=VALUE",
        help="a setting of the runs; all combinations of listed values are run",
    )
    line.add_argument(
        "--runs", type=int, default=100, help="the number of runs per setting, with seeds 0, 1, ... (default: 100)"
    )
    line.add_argument("--evaluations", type=int, default=300, help="the number of evaluations per run (default: 300)")
    line.add_argument(
        "--speedup",
        type=float,
        action="append",
        default=[],
        help="report how soon this speedup was reached; may be repeated",
    )
    line.add_argument("--out", type=Path, metavar="DIR", help="write curves.csv, comparison.json and PNGs there")
    line.add_argument("--json", action="store_true", help="one JSON object")
    options = line.read(arguments)
    for name in ("runs", "evaluations"):
        if getattr(options, name) < 1:
            line.error(f"--{name} must be at least 1")

    from kernelevolve.experiments.results import present
    from kernelevolve.experiments.statistics import compared
    from kernelevolve.experiments.tabular.jobs import replay_all
    from kernelevolve.experiments.tabular.table import Table, path_of

    path = path_of(options.table)
    table = Table.load(path)
    jobs = _jobs(path, table.task, options.settings, options.evaluations)
    progress = _progress(len(jobs) * options.runs)
    curves = replay_all(jobs, range(options.runs), os.cpu_count() or 1, progress)
    if not options.json:
        print(f"{len(table)} kernels, the best {table.best:.2f}x")
    further = {"best": table.best, "kernels": len(table)}
    present(compared(curves, options.speedup), curves, out=options.out, as_json=options.json, further=further)
    return 0


def _jobs(path: Path, task: str, settings: Sequence[str], evaluations: int) -> list[Job]:
    """Return one job for each combination of values."""
    from kernelevolve import config
    from kernelevolve.experiments.tabular.jobs import Job

    swept = config.sweep(settings)
    jobs = []
    for overrides in swept:
        own = [text for text in overrides if any(text not in others for others in swept)]
        composed = {**config.compose(overrides), "task": task}
        label = ", ".join(own) or str(composed["search"]["_target_"]).split(".")[-2]
        jobs.append(Job(path, label.replace("search=", ""), composed, evaluations))
    if len({job.label for job in jobs}) < len(jobs):
        raise UserError("a combination of settings occurs twice: list each value once")
    return jobs


def _progress(total: int) -> Callable[[int], None]:
    step = max(1, total // _NEWS)
    last = [0]

    def report(done: int) -> None:
        if done // step > last[0]:
            last[0] = done // step
            print(f"kernelevolve: {done} of {total} runs", file=sys.stderr, flush=True)

    return report
