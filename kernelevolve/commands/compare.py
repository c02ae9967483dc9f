"""`kernelevolve compare`."""

from __future__ import annotations

import json
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

    from rich.console import Console

    from kernelevolve.experiments import plots, tables
    from kernelevolve.experiments.curves import read_curves
    from kernelevolve.experiments.statistics import compared

    curves = read_curves(options.folders, options.by)
    found = compared(curves, options.speedup)
    plain = json.dumps(tables.to_json(found), indent=2)
    if options.json:
        print(plain)
    else:
        Console().print(tables.view(found))
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "comparison.json").write_text(plain + "\n", encoding="utf-8")
        written = [tables.write_csv(curves, options.out / "curves.csv"), *plots.draw(found, options.out)]
        if not options.json:
            Console().print(*(str(path) for path in written), sep="\n", soft_wrap=True)
    return 0
