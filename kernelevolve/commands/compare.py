"""`kernelevolve compare`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kernelevolve.commands.arguments import parser

NOTE = "`kernelevolve run -m search=mcts,evolutionary seed=0,1,2 run.dir=FOLDER ...` makes runs to compare: FOLDER/*"


def main(arguments: Sequence[str]) -> int:
    """Tables of what runs of one task had found when; with --out, plots and CSV too."""
    line = parser("compare", "Which search is better? Curves of the best so far, and what can be said of them.", NOTE)
    line.add_argument("folders", nargs="+", type=Path, metavar="RUN", help="folders of runs of one task")
    line.add_argument("--by", default="search", metavar="KEY", help="the setting that tells groups apart; search")
    line.add_argument(
        "--speedup", type=float, action="append", default=[], help="tell how soon it was reached; several times"
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
