"""Which strategy is best, on the shipped tables: many seeds of each, with the settings that `conf/` has.

    python -m scripts.experiments.strategies [--runs 100] [--evaluations 300] [--out docs/strategies]

Prints a table in Markdown for each task, with the share of the best possible speedup that a run ends with and has on average on the way,
and how likely a run is better than one that chooses at random; draws the curves.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from kernelevolve import config
from kernelevolve.experiments import plots
from kernelevolve.experiments.statistics import Comparison, Interval, compared
from kernelevolve.experiments.tabular.jobs import Job, replay_all
from kernelevolve.experiments.tabular.table import Table, shipped

BASELINE = "random"
NAMES = ("evolutionary", "ageing", "mcts", "greedy", "linear", BASELINE, "one_shot")
_SHARES = (0.9, 0.95)
"""Of the best speedup in the table, whose reaching is told."""


def comparison(path: Path, runs: int, evaluations: int, names: tuple[str, ...] = NAMES) -> Comparison:
    """Of all strategies on one table."""
    jobs = [Job(path, name, config.compose([f"search={name}", "task=x"]), evaluations) for name in names]
    best = Table.load(path).best
    return compared(replay_all(jobs, range(runs), os.cpu_count() or 1), [share * best for share in _SHARES])


def markdown(found: Comparison, best: float) -> str:
    """A row for each strategy, the best on the way first."""

    def share(value: Interval) -> str:
        return f"{value.value / best:.1%} ({value.low / best:.1%} to {value.high / best:.1%})"

    lines = [
        f"| strategy | ends at | on the way | {' | '.join(f'to {s:.0%}' for s in _SHARES)} | better than {BASELINE} |",
        "|---" * (4 + len(_SHARES)) + "|",
    ]
    for group in found.groups:
        soon = [
            f"{reached.evaluations:.0f}" if reached.evaluations is not None else f"({reached.share:.0%} of runs)"
            for reached in group.reached.values()
        ]
        lines.append(
            f"| `{group.label}` | {share(group.final)} | {share(group.area)} | {' | '.join(soon)} | {_odds(found, group.label)} |"
        )
    return "\n".join(lines)


def _odds(found: Comparison, label: str) -> str:
    for duel in found.duels:
        if {duel.first, duel.second} == {label, BASELINE} and label != BASELINE:
            value = duel.better.value if duel.first == label else 1 - duel.better.value
            return f"{value:.0%}" + (f", p {duel.p_value:.1g}" if duel.p_value is not None else "")
    return ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--evaluations", type=int, default=300)
    parser.add_argument("--out", type=Path, default=Path("docs/strategies"))
    options = parser.parse_args()
    for name, path in sorted(shipped().items()):
        table = Table.load(path)
        found = comparison(path, options.runs, options.evaluations)
        print(f"### {name}\n\n{len(table)} kernels, {(table.speedup > 0).sum()} correct, the best {table.best:.2f}x\n")
        print(markdown(found, table.best), flush=True)
        folder = options.out / name
        folder.mkdir(parents=True, exist_ok=True)
        plots.draw(found, folder)
        print(f"\n![curves](strategies/{name}/evaluations.png)\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
