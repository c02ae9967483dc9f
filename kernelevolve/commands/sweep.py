"""`kernelevolve sweep`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from kernelevolve.commands.arguments import parser

NOTE = """tasks= takes names, groups (dlrm, kernelbench:level1, a folder of task files), patterns ('dlrm/*norm*') and @FILES with names,
with commas between them. The same command with the same sweep.dir goes on where it stopped; tasks that are done are not run again.
All settings of `kernelevolve run` are taken; sweep.at_a_time=N works on N tasks beside each other. The exit code is 0 if all tasks
have a correct kernel, and 1 if some have none."""


def main(arguments: Sequence[str]) -> int:
    """Work through many tasks, each in a run of its own."""
    line = parser("sweep", "Evolve kernels for many tasks, and print one table.", NOTE)
    line.add_argument("overrides", nargs="*", metavar="key=value", help="a setting")
    line.add_argument("--json", action="store_true", help="one JSON object")
    options = line.read(arguments)

    from kernelevolve.sweeping.settings import load
    from kernelevolve.tasks.selection import select_tasks

    settings = load(options.overrides)
    tasks = select_tasks(settings.tasks)

    # These modules import torch and Ray, so they are imported only after the settings are checked.
    from rich.console import Console

    from kernelevolve.sweeping.sweep import INTERRUPTED, sweep
    from kernelevolve.sweeping.table import as_json, table

    rows = sweep(settings, tasks)
    if rows is None:
        return INTERRUPTED
    folder = Path(settings.sweep.dir)
    if options.json:
        print(json.dumps(as_json(rows, folder), indent=2))
    else:
        Console().print(table(rows, folder))
    return 0 if all(row.correct for row in rows) else 1
