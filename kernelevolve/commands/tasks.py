"""`kernelevolve tasks`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from kernelevolve.commands.arguments import parser
from kernelevolve.core.errors import UserError

NOTE = "`kernelevolve tasks list GROUP` lists the tasks of a group: a suite, kernelbench:level1, aten:, or a folder."


def main(arguments: Sequence[str]) -> int:
    """List tasks and groups of them, or show the source of one task."""
    line = parser("tasks", "List the tasks and their groups, or show the source of one.", NOTE)
    line.add_argument("action", choices=["list", "show"])
    line.add_argument("name", nargs="?", help="the group to list, or the task to show")
    options = line.read(arguments)

    from kernelevolve.tasks.catalog import find_task, list_groups, list_tasks, members_of

    if options.action == "show":
        if options.name is None:
            raise UserError("which task? `kernelevolve tasks show NAME`; `kernelevolve tasks list` names them")
        sys.stdout.write(find_task(options.name).source)
        return 0
    if options.name is None:
        shown = (*list_tasks(), *list_groups())
    else:
        found = members_of(options.name)
        if found is None:
            groups = ", ".join(group.name for group in list_groups())
            raise UserError(f"'{options.name}' is no group of tasks: name a suite, a folder, or one of {groups}")
        shown = found
    width = max((len(each.name) for each in shown), default=0)
    for each in shown:
        print(f"{each.name:{width}}  {each.summary}".rstrip())
    return 0
