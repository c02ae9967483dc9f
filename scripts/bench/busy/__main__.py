"""Are figures true on a machine that is not idle?

    python -m scripts.bench.busy [--loads quiet busy50 ...] [--threads one all] [--ratios 1 1.15 ...] [--times 10] [--ranks]
                                 [--file busy.jsonl] [--show]

Kernels whose ratio to the reference is known, the same work of PyTorch's a known number of times, are judged as finalists are: first on
the quiet machine, which gives the values that are held to be true, then under each load. `--ranks` has 40 kernels of one operator
ranked as a search ranks them, quiet and under two processes at half a core. Every decision is a line of the file: what is there
already is not done again, so that the whole can be had in parts. Nothing else may run meanwhile. Ends with 1 where a bar is missed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from scripts.bench.busy.bars import HEAD, missed, ranks, rows
from scripts.bench.busy.decisions import Decision, decided, ranked, read
from scripts.bench.busy.kernels import ELEMENTS, RATIOS
from scripts.bench.busy.loads import LOADS


def _say(decision: Decision) -> None:
    told = f"{decision.value:.3f} ({decision.low:.3f} to {decision.high:.3f})" if decision.value else "not measured"
    print(
        f"{decision.kind:<7}{decision.load:<10}{decision.threads:<4}{decision.repetitions:>3}  {told:<26} rank {decision.rank:.3f}  "
        f"{decision.seconds:.2f} s, {decision.disturbed_rounds} of {decision.rounds} rounds disturbed  {decision.not_measured}",
        flush=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loads", nargs="+", choices=list(LOADS), default=list(LOADS), metavar="LOAD")
    parser.add_argument("--threads", nargs="+", choices=list(ELEMENTS), default=list(ELEMENTS))
    parser.add_argument("--ratios", nargs="+", type=float, choices=list(RATIOS), default=list(RATIOS), metavar="RATIO")
    parser.add_argument("--times", type=int, default=10, help="decisions on each kernel under each load")
    parser.add_argument("--ranks", action="store_true", help="rank 40 kernels too, quiet and under two50")
    parser.add_argument("--file", type=Path, default=Path("busy.jsonl"))
    parser.add_argument("--show", action="store_true", help="measure nothing, show what the file holds")
    options = parser.parse_args()
    if not options.show:
        for decision in decided(options.file, options.loads, options.threads, options.ratios, options.times):
            _say(decision)
        if options.ranks:
            for decision in ranked(options.file, ("quiet", "two50"), options.threads):
                _say(decision)
    made = read(options.file)
    found, taus = rows(made), ranks(made)
    print(HEAD)
    for row in found:
        print(row.text())
    for threads, tau in taus.items():
        print(f"ranks of 40 kernels, {threads}: Kendall's tau {tau:.2f}")
    texts = missed(found, taus)
    for text in texts:
        print(f"MISSED  {text}")
    print(f"{len(texts)} bars missed" if texts else "all bars met")
    return 1 if texts else 0


if __name__ == "__main__":
    sys.exit(main())
