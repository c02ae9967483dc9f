"""How many cheats of the corpus are caught and how many honest kernels pass, several times in a row.

    python -m scripts.bench.corpus [--times 10] [--only TEXT]

Ends with 1 where any verdict is not as expected. `--only` takes the entries whose id holds the text.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Sequence
from itertools import groupby

from tests.evaluators.protocols.corpus.judging import open_judge
from tests.evaluators.protocols.corpus.reading import Entry, read_corpus


def judged(entries: Sequence[Entry]) -> list[tuple[Entry, str]]:
    """What is wrong with the verdicts, the entries in the order of their tasks."""
    complaints = []
    for task, group in groupby(entries, key=lambda entry: entry.task):
        judge = open_judge(task)
        try:
            judge.warm()
            for entry in group:
                found = entry.complaint(judge.evaluate(entry.kernel))
                if found:
                    complaints.append((entry, found))
                    print(f"  {entry.id}: {found}", flush=True)
        finally:
            judge.close()
    return complaints


def table(entries: Sequence[Entry], wrong: Counter[str], times: int) -> None:
    """One row for each class: how many verdicts were right, of how many."""
    for group, word in (("cheats", "caught"), ("honest", "passed")):
        print(f"\n{group:<24} {word:>12}")
        members = [entry for entry in entries if entry.group == group]
        for kind in sorted({entry.kind for entry in members}):
            ids = [entry.id for entry in members if entry.kind == kind]
            print(f"  {kind:<22} {len(ids) * times - sum(wrong[i] for i in ids):>6} / {len(ids) * times}")
        right = len(members) * times - sum(wrong[entry.id] for entry in members)
        print(f"  {'all':<22} {right:>6} / {len(members) * times}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    entries = [entry for entry in read_corpus() if arguments.only in entry.id]
    wrong: Counter[str] = Counter()
    for turn in range(arguments.times):
        begin = time.monotonic()
        complaints = judged(entries)
        wrong.update(entry.id for entry, _ in complaints)
        print(
            f"turn {turn + 1}: {len(complaints)} of {len(entries)} wrong, {time.monotonic() - begin:.0f} s", flush=True
        )
    table(entries, wrong, arguments.times)
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
