"""The results of a sweep in the files that KernelBench's own scripts read.

`eval_results.json` is what its `scripts/eval_from_generations.py` writes: for each problem a list with one entry for each sample, which has
`sample_id`, `compiled`, `correctness`, `metadata`, `runtime` and `runtime_stats`. `baseline_time_torch.json` is what its
`scripts/generate_baseline_time.py` writes: the times of eager PyTorch by level and file. Times are in milliseconds; -1 stands for none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kernelevolve.report.files import write_json
from kernelevolve.sweeping.row import Row

OTHERS = "tasks"
"""The folder of the tasks that are no problems of KernelBench. They are numbered in the order of the sweep."""


def write_kernelbench_results(folder: Path, rows: Sequence[Row]) -> tuple[Path, ...]:
    """Write both files for each level into `folder/levelN/`, and for other tasks into `folder/tasks/`.

    Args:
        folder: The folder of the files.
        rows: The rows of the sweep.

    Returns:
        The folders that were written, by name.
    """
    groups: dict[str, dict[int, Row]] = {}
    for row in rows:
        group = groups.setdefault(f"level{row.problem[0]}" if row.problem else OTHERS, {})
        group[row.problem[1] if row.problem else len(group) + 1] = row
    for name, problems in groups.items():
        place = folder / name
        place.mkdir(parents=True, exist_ok=True)
        results = {str(number): [_entry(problems[number])] for number in sorted(problems)}
        write_json(place / "eval_results.json", results)
        baseline = {_file(row): _statistics(row.eager_seconds, row) for row in problems.values() if row.eager_seconds}
        write_json(place / "baseline_time_torch.json", {name: baseline})
    return tuple(folder / name for name in sorted(groups))


def _entry(row: Row) -> Mapping[str, Any]:
    measured = row.kernel_seconds if row.speedup else None
    metadata: dict[str, Any] = {
        "hardware": row.hardware,
        "device": row.device,
        "problem_name": _file(row),
        "status": row.status.value,
        "kernel": row.kernel,
    }
    if row.reason:
        metadata["reason"] = row.reason
    if row.speedup:
        metadata["speedup"] = row.speedup.value
        metadata["speedup_interval"] = [row.speedup.low, row.speedup.high]
    return {
        "sample_id": 0,
        "compiled": row.compiled,
        "correctness": row.correct,
        "metadata": metadata,
        "runtime": _milliseconds(measured) if measured else -1.0,
        "runtime_stats": _statistics(measured, row) if measured else {},
    }


def _statistics(seconds: float, row: Row) -> Mapping[str, Any]:
    """Return the part of KernelBench's statistics that is known. The mean is the median of our timed blocks."""
    return {"mean": _milliseconds(seconds), "hardware": row.hardware, "device": row.device}


def _milliseconds(seconds: float) -> float:
    return float(f"{seconds * 1e3:.4g}")


def _file(row: Row) -> str:
    """Return the name of the problem's file, by which KernelBench finds the time of the baseline."""
    stem = row.task.rpartition("/")[2]
    return stem if stem.endswith(".py") else f"{stem}.py"
