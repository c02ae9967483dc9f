"""`kernelevolve resume`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kernelevolve.commands.arguments import parser

NOTE = "Only budget.* can be changed: `budget.seconds=600` lets a run that is done search on."


def main(arguments: Sequence[str]) -> int:
    """Go on with a run's folder."""
    line = parser("resume", "Go on with a run that was interrupted, or whose budget is raised.", NOTE)
    line.add_argument("folder", type=Path, metavar="RUN", help="the folder of the run")
    line.add_argument("overrides", nargs="*", metavar="budget.key=value", help="a new limit")
    line.add_argument("-q", "--quiet", action="store_true", help="no progress, only the result")
    options = line.read(arguments)

    from kernelevolve import run

    return run.resume(options.folder, options.overrides, quiet=options.quiet)
