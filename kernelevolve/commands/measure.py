"""`kernelevolve measure`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kernelevolve.commands.arguments import parser

NOTE = """Use it for a run that reports `not measured`, or that was measured while other programs ran. Nothing is searched; `run.json` and
`best/` are rewritten. `evaluation.final.max_seconds=5` measures longer."""


def main(arguments: Sequence[str]) -> int:
    """Measure the finalists of a finished run again."""
    line = parser("measure", "Measure the best kernels of a finished run again.", NOTE)
    line.add_argument("folder", type=Path, metavar="RUN", help="the folder of the run")
    line.add_argument("overrides", nargs="*", metavar="evaluation.key=value", help="a setting, for this measurement")
    line.add_argument("-q", "--quiet", action="store_true", help="print only the result")
    options = line.read(arguments)

    from kernelevolve.measuring import measure

    return measure(options.folder, options.overrides, quiet=options.quiet)
