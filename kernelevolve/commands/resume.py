"""`kernelevolve resume`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kernelevolve.commands.arguments import parser

NOTE = "Only budget.* can be changed: `budget.seconds=600` continues a run whose budget was reached."


def main(arguments: Sequence[str]) -> int:
    """Continue the run of a folder."""
    line = parser("resume", "Continue a run that was interrupted, or whose budget is raised.", NOTE)
    line.add_argument("folder", type=Path, metavar="RUN", help="the folder of the run")
    line.add_argument("overrides", nargs="*", metavar="budget.key=value", help="a new limit")
    line.add_argument("-q", "--quiet", action="store_true", help="print only the result")
    options = line.read(arguments)

    from kernelevolve import run

    return run.resume(options.folder, options.overrides, quiet=options.quiet)
