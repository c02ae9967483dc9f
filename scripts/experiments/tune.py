"""Settings of a strategy, tried on some tables and told on another.

    python -m scripts.experiments.tune STRATEGY --on TABLE TABLE --told TABLE [--tries 40] [--runs 40] [KEY=VALUE,VALUE ...]

Draws combinations of the values, with the settings that `conf/` has among them, and orders them by the share of the best possible speedup
that runs have on average on the way, over the tables of `--on`. The first and the present ones are then measured on `--told`, with other
seeds.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kernelevolve import config
from kernelevolve.experiments.curves import Curve
from kernelevolve.experiments.statistics import mean_interval
from kernelevolve.experiments.tabular.jobs import Job, replay_all
from kernelevolve.experiments.tabular.table import Table, shipped


def scores(path: Path, settings: Sequence[Sequence[str]], seeds: Sequence[int], evaluations: int) -> list[np.ndarray]:
    """For each setting, (runs,): average share of the best speedup on the way."""
    jobs = [Job(path, str(n), config.compose([*one, "task=x"]), evaluations) for n, one in enumerate(settings)]
    curves = replay_all(jobs, seeds, os.cpu_count() or 1)
    best = Table.load(path).best
    return [
        np.array([_area(curve, evaluations) / best for curve in curves if curve.label == job.label]) for job in jobs
    ]


def drawn_from(values: Sequence[str], count: int, rng: random.Random) -> tuple[int, list[list[str]]]:
    """(combinations that there are, so many of them by chance). `values`: of each key, as `key=1,2,3`."""
    choices = [[f"{key}={one}" for one in listed.split(",")] for key, _, listed in (v.partition("=") for v in values)]
    total = math.prod(map(len, choices))
    found = []
    for number in rng.sample(range(total), min(count, total)):
        left, combination = number, []
        for options in choices:
            left, place = divmod(left, len(options))
            combination.append(options[place])
        found.append(combination)
    return total, found


def _area(curve: Curve, evaluations: int) -> float:
    """A run that has exhausted the space stays where it is."""
    missing = evaluations - len(curve)
    return float((curve.best.sum() + missing * curve.best[-1]) / evaluations)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("strategy")
    parser.add_argument("values", nargs="+", metavar="KEY=VALUE,VALUE")
    parser.add_argument("--on", nargs="+", required=True)
    parser.add_argument("--told", required=True)
    parser.add_argument("--tries", type=int, default=40)
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--evaluations", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_intermixed_args()
    tables = shipped()
    plain = [f"search={options.strategy}"]
    total, drawn = drawn_from(options.values, options.tries, random.Random(options.seed))
    settings = [plain, *([*plain, *one] for one in drawn)]
    seeds = range(options.runs)
    found = np.stack(
        [
            [values.mean() for values in scores(tables[name], settings, seeds, options.evaluations)]
            for name in options.on
        ]
    )
    order = np.argsort(-found.mean(axis=0))
    print(f"of {total} combinations {len(drawn)}; on the way, {', '.join(options.on)}")
    for place in order[:8]:
        text = " ".join(settings[place][1:]) or "as it is"
        print(f"  {found[:, place].mean():.2%} ({', '.join(f'{v:.2%}' for v in found[:, place])})  {text}")
    print(f"  as it is: {found[:, 0].mean():.2%}, place {int(np.flatnonzero(order == 0)[0]) + 1}")
    others = range(10_000, 10_000 + options.runs)
    chosen = [plain, settings[order[0]]]
    for name, values in zip(
        ("as it is", "the first"), scores(tables[options.told], chosen, others, options.evaluations), strict=True
    ):
        interval = mean_interval(values, 0)
        print(f"{options.told}, {name}: {interval.value:.2%} ({interval.low:.2%} to {interval.high:.2%})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
