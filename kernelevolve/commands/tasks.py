"""`kernelevolve tasks`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from kernelevolve.commands.arguments import parser
from kernelevolve.core.errors import UserError


def main(arguments: Sequence[str]) -> int:
    """List the shipped tasks, or show the source of one."""
    line = parser("tasks", "List the shipped tasks, or show the source of one.")
    line.add_argument("action", choices=["list", "show"])
    line.add_argument("name", nargs="?", help="the name of the task to show, or a file")
    options = line.read(arguments)

    from kernelevolve.tasks.catalog import find_task, list_tasks

    if options.action == "list":
        tasks = list_tasks()
        width = max(len(t.name) for t in tasks)
        for t in tasks:
            print(f"{t.name:{width}}  {t.summary}")
        return 0
    if options.name is None:
        raise UserError("which task? `kernelevolve tasks show NAME`; `kernelevolve tasks list` names them")
    sys.stdout.write(find_task(options.name).source)
    return 0
