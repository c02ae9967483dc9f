"""KernelBench's problems, shrunk for a CPU: does each end with a correct kernel, how fast, and why not?

    python -m scripts.bench.breadth CLONE [--levels 1 2 3] [--only TEXT] [--sample 40] [--seconds 20] [--out FOLDER]
    python -m scripts.bench.breadth CLONE --verdicts [--jobs 2] ...

The second form times nothing and takes a tenth of the time: it judges the copies and finds the first right draft of each.
CLONE is a clone of KernelBench. Copies with smaller sizes are made in FOLDER, outside of any repository. A row is written
as soon as its problem is done: the same command with the same FOLDER goes on where it stopped, and `--table` only prints.
Ends with 1 where a bar is missed. Some problems import `einops`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from kernelevolve.core.errors import UserError
from kernelevolve.tasks.kernelbench.problems import Problem
from scripts.bench.breadth.problems import LEVELS, name_of, problems_of, sample, shrunk_copy
from scripts.bench.breadth.table import bars, table, verdict_bars, verdict_table
from scripts.bench.breadth.trying import PROTOCOLS, Row, judge_copy, judged, search
from scripts.bench.breadth.verdicts import Verdicts


def main() -> int:
    line = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    line.add_argument("clone", type=Path, metavar="CLONE")
    line.add_argument("--levels", type=int, nargs="+", choices=LEVELS, default=list(LEVELS))
    line.add_argument("--only", default="", metavar="TEXT", help="problems whose name holds the text")
    line.add_argument("--sample", type=int, metavar="N", help="so many problems, by chance")
    line.add_argument("--seed", type=int, default=0, help="of that choice")
    line.add_argument("--seconds", type=float, default=20.0, help="of each search; 0 for none")
    line.add_argument("--no-compile", action="store_true", help="do not measure torch.compile")
    line.add_argument("--protocols", nargs="*", choices=PROTOCOLS, default=list(PROTOCOLS), help="copies are judged by")
    line.add_argument("--out", type=Path, metavar="FOLDER")
    line.add_argument("--verdicts", action="store_true", help="judge copies and first drafts, and time nothing")
    line.add_argument("--jobs", type=int, default=2, metavar="N", help="problems beside each other, with --verdicts")
    line.add_argument("--table", action="store_true", help="print what is there already")
    options = line.parse_args()
    try:
        problems = [p for p in problems_of(options.clone, tuple(options.levels)) if options.only in name_of(p)]
    except UserError as error:
        line.error(str(error))
    if options.sample:
        problems = sample(problems, options.sample, options.seed)
    folder = options.out or Path(tempfile.mkdtemp(prefix="kernelevolve-breadth-"))
    folder.mkdir(parents=True, exist_ok=True)
    print(f"into {folder}", file=sys.stderr)
    if options.verdicts:
        return _verdicts(problems, folder, options)
    journal = folder / "rows.jsonl"
    rows = {row.problem: row for row in map(Row.from_json, _lines(journal))}
    for problem in problems:
        if name_of(problem) in rows or options.table:
            continue
        row = _tried(problem, folder, options)
        rows[row.problem] = row
        with journal.open("a") as file:
            file.write(row.to_json() + "\n")
        print(table([row]).splitlines()[-1], file=sys.stderr, flush=True)
    chosen = [rows[name_of(problem)] for problem in problems if name_of(problem) in rows]
    return _ended(table(chosen), *bars(chosen))


def _verdicts(problems: Sequence[Problem], folder: Path, options: argparse.Namespace) -> int:
    journal = folder / "verdicts.jsonl"
    rows = {row.problem: row for row in map(Verdicts.from_json, _lines(journal))}
    left = [problem for problem in problems if name_of(problem) not in rows and not options.table]
    # Threads of programs that share cores wait for each other, so each job has its own.
    mine = sorted(os.sched_getaffinity(0))
    jobs = max(1, min(options.jobs, len(mine)))
    shares: SimpleQueue[list[int]] = SimpleQueue()
    for job in range(jobs):
        shares.put(mine[job::jobs])

    def judge(problem: Problem) -> Verdicts:
        cores = shares.get()
        try:
            return judged(name_of(problem), shrunk_copy(problem, folder)[0], cores)
        finally:
            shares.put(cores)

    with ThreadPoolExecutor(jobs) as pool, journal.open("a") as file:
        for row in pool.map(judge, left):
            rows[row.problem] = row
            file.write(row.to_json() + "\n")
            file.flush()
            print(verdict_table([row]).splitlines()[-1], file=sys.stderr, flush=True)
    chosen = [rows[name_of(problem)] for problem in problems if name_of(problem) in rows]
    return _ended(verdict_table(chosen), *verdict_bars(chosen))


def _ended(rows: str, lines: Sequence[str], met: bool) -> int:
    """Print the table and the bars, and return the exit code."""
    print(rows, "", *lines, sep="\n")
    return 0 if met else 1


def _lines(journal: Path) -> list[str]:
    return journal.read_text().splitlines() if journal.exists() else []


def _tried(problem: Problem, folder: Path, options: argparse.Namespace) -> Row:
    task, copy = shrunk_copy(problem, folder)
    copies = judge_copy(task, options.protocols)
    found = None
    if options.seconds:
        place = folder / "runs" / f"level{problem.level}" / problem.stem
        shutil.rmtree(place, ignore_errors=True)  # Of a row that was not finished.
        place.parent.mkdir(parents=True, exist_ok=True)
        found = search(task, options.seconds, place, compiled=not options.no_compile)
    return Row(name_of(problem), copy.changes, copy.note, copies, found)


if __name__ == "__main__":
    sys.exit(main())
