"""`kernelevolve compare`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kernelevolve.commands.arguments import parser

NOTE = "`kernelevolve run -m search=mcts,evolutionary seed=0,1,2 run.dir=FOLDER ...` makes runs to compare: FOLDER/*"


def main(arguments: Sequence[str]) -> int:
    """Compare runs of one task: print tables, and with --out write plots and CSV too."""
    line = parser("compare", "Compare searches by the best speedup that their runs had found over time.", NOTE)
    line.add_argument("folders", nargs="+", type=Path, metavar="RUN", help="folders of runs of one task")
    line.add_argument(
        "--by", default="search", metavar="KEY", help="the setting that runs are grouped by (default: search)"
    )
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

    from kernelevolve.experiments.curves import read_curves
    from kernelevolve.experiments.results import present
    from kernelevolve.experiments.statistics import compared

    curves = read_curves(options.folders, options.by)
    present(compared(curves, options.speedup), curves, out=options.out, as_json=options.json)
    return 0
