"""How many operators of PyTorch's OpInfo database become tasks, and is a copy of each task's reference found right?

    python -m scripts.bench.aten_tasks --out FOLDER [--only TEXT] [--jobs 2] [--evaluate 25] [--seed 0]

Each operator is tried in a fork of one process that has read the database. The tasks are written into FOLDER/tasks, and a row for
each operator into FOLDER/rows.jsonl; the same command goes on where it stopped. Then copies of so many references, chosen by chance, are
judged by `kernelevolve evaluate`.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import re
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from kernelevolve.report.folder import file_stem
from kernelevolve.tasks.aten import making
from scripts.bench.breadth.trying import copy_of

_SECONDS = 300.0
"""That one operator may take, as in `kernelevolve.tasks.aten.source`."""
_EVALUATE_SECONDS = 600.0


def main() -> int:
    line = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    line.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    line.add_argument("--only", default="", metavar="TEXT", help="operators whose name holds the text")
    line.add_argument("--dtype", default="", help="of all tasks; without it each operator's default")
    line.add_argument("--jobs", type=int, default=2, help="operators that are tried beside each other")
    line.add_argument("--evaluate", type=int, default=0, metavar="N", help="so many copies are judged")
    line.add_argument("--seed", type=int, default=0, help="of that choice")
    options = line.parse_args()
    tasks: Path = options.out / "tasks"
    tasks.mkdir(parents=True, exist_ok=True)
    journal = options.out / "rows.jsonl"
    rows = {row["name"]: row for row in _rows(journal)}
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    with torch.no_grad():
        names = sorted(name for name in making.names() if options.only in name)
    left = [name for name in names if name not in rows]
    with ThreadPoolExecutor(options.jobs) as pool, journal.open("a") as file:
        for name, found in zip(left, pool.map(lambda name: _made(name, options.dtype), left), strict=True):
            rows[name] = {"name": name, "reason": found.get("refused", found.get("unknown", ""))}
            if "source" in found:
                (tasks / f"{file_stem(name)}.py").write_text(found["source"])
            file.write(json.dumps(rows[name]) + "\n")
            file.flush()
    chosen = [rows[name] for name in names]
    made = [row["name"] for row in chosen if not row["reason"]]
    print(f"{len(made)} of {len(chosen)} operators become tasks")
    for reason, number in Counter(_kind(row["reason"]) for row in chosen if row["reason"]).most_common():
        example = next(row["name"] for row in chosen if row["reason"] and _kind(row["reason"]) == reason)
        print(f"{number:4}  {reason} ({example})")
    if not options.evaluate:
        return 0
    return _judge(sorted(random.Random(options.seed).sample(made, min(options.evaluate, len(made)))), tasks)


def _made(name: str, dtype: str) -> dict[str, str]:
    """Make a task, if that crashes one with the sample's own sizes."""
    found = _forked(name, dtype, enlarge=True)
    return _forked(name, dtype, enlarge=False) if "crashed" in found else found


def _forked(name: str, dtype: str, *, enlarge: bool) -> dict[str, str]:
    """Make a task in a fork, which may crash or take too long."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(theirs, name, dtype, enlarge))
    process.start()
    theirs.close()
    try:
        if not ours.poll(_SECONDS):
            process.kill()
            return {"refused": f"it took longer than {_SECONDS:.0f} s to try its sample"}
        found: dict[str, str] = ours.recv()
        return found
    except EOFError:
        process.join()
        return {"refused": f"the process that tried its sample ended by exit code {process.exitcode}", "crashed": "yes"}
    finally:
        process.join()


def _send(channel: Connection, name: str, dtype: str, enlarge: bool) -> None:
    try:
        with torch.no_grad():
            found: Any = making.make(name, dtype, enlarge=enlarge)
    except Exception as error:  # noqa: BLE001 - a fault of ours is a row of its own
        found = {
            "refused": f"making it raised {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        }
    channel.send(dict(found))


def _kind(reason: str) -> str:
    """A reason without what is particular to an operator."""
    return re.sub(r"\(.*\)|'.*'|: .*", "...", reason)


def _judge(names: Sequence[str], tasks: Path) -> int:
    right = 0
    for name in names:
        task = tasks / f"{file_stem(name)}.py"
        kernel = tasks.parent / "copies" / task.name
        kernel.parent.mkdir(exist_ok=True)
        kernel.write_text(copy_of(task.read_text()))
        command = [sys.executable, "-m", "kernelevolve", "evaluate", str(task), str(kernel), "--json"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_EVALUATE_SECONDS)
        except subprocess.TimeoutExpired:
            print(f"{name}: took longer than {_EVALUATE_SECONDS:g} s", flush=True)
            continue
        if done.returncode:
            print(f"{name}: {(done.stderr.strip().splitlines() or ['no message'])[-1]}", flush=True)
            continue
        verdict = json.loads(done.stdout)
        right += verdict["status"] == "ok"
        told = verdict["diagnosis"]["summary"] if verdict["diagnosis"] else f"{verdict['speedup']}"
        print(f"{name}: {verdict['status']} {told}", flush=True)
    print(f"{right} of {len(names)} copies of the reference are found right")
    return 0 if right == len(names) else 1


def _rows(journal: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in journal.read_text().splitlines()] if journal.exists() else []


if __name__ == "__main__":
    sys.exit(main())
