"""The suite `dlrm`: what a search of so many seconds per task finds, over eager and over torch.compile.

    python -m scripts.bench.dlrm [--seconds 60] [--out FOLDER] [TASK ...]

Each task is one `kernelevolve run`; the figures are those of its last measurement, interleaved in one process.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from kernelevolve.core.errors import UserError
from kernelevolve.tasks.catalog import find_task, list_tasks

_OVER_EAGER, _OVER_COMPILE = 2.5, 1.25


def run(task: str, seconds: float, folder: Path) -> dict[str, Any] | None:
    words = ["run", "--quiet", f"task={task}", f"budget.seconds={seconds:g}", f"run.dir={folder}"]
    words.append("evaluation.cache=off")  # What an earlier run found would be a head start.
    done = subprocess.run([sys.executable, "-m", "kernelevolve", *words], stdout=subprocess.DEVNULL, check=False)
    if done.returncode:
        return None
    found: dict[str, Any] = json.loads((folder / "run.json").read_text())
    return found


def mean(values: list[float]) -> float:
    """Geometric."""
    return math.exp(sum(map(math.log, values)) / len(values)) if values else float("nan")


def main() -> int:
    line = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    line.add_argument("tasks", nargs="*")
    line.add_argument("--seconds", type=float, default=60.0)
    line.add_argument("--out", type=Path)
    options = line.parse_args()
    names = options.tasks or [t.name for t in list_tasks() if t.name.startswith("dlrm/")]
    try:
        for name in names:
            find_task(name)
    except UserError as error:
        line.error(str(error))
    base = options.out or Path(tempfile.mkdtemp(prefix="kernelevolve-dlrm-"))
    eager: list[float] = []
    compiled: list[float] = []
    failed: list[str] = []
    print("| task | over eager (95%) | over torch.compile | kernels judged | first correct s |")
    print("|---|---|---|---|---|")
    for name in names:
        found = run(name, options.seconds, base / name.replace("/", "-"))
        best = found["best"] if found else None
        if found is None or best is None:
            failed.append(name)
            print(f"| {name} | none correct | - | - | - |", flush=True)
            continue
        if best["speedup"] is None:
            failed.append(name)
            print(f"| {name} | not measured: {best['not_measured']} | - | - | - |", flush=True)
            continue
        low, high = best["speedup_interval"]
        eager.append(best["speedup"])
        over = best["speedup_over_compile"]
        if over is not None:
            compiled.append(over)
        judged = sum(found["evaluations"].values())
        print(
            f"| {name} | {best['speedup']:.2f} ({low:.2f} to {high:.2f}) | {f'{over:.2f}' if over else 'not measured'} "
            f"| {judged} | {found['seconds'].get('first_correct', float('nan')):.1f} |",
            flush=True,
        )
    slower = sum(value < 1 for value in eager)
    print(
        f"\ngeometric mean: {mean(eager):.2f}x over eager (bar {_OVER_EAGER}x), {mean(compiled):.2f}x over torch.compile "
        f"(bar {_OVER_COMPILE}x), measured for {len(compiled)} of {len(names)}, {options.seconds:g} s per task"
    )
    print(f"slower than eager: {slower} of {len(eager)}; without a correct kernel, or not measured: {len(failed)}")
    met = mean(eager) >= _OVER_EAGER and mean(compiled) >= _OVER_COMPILE
    return 0 if met and not slower and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
