"""The row of a task in the results of a sweep, and how it follows from the folder of the task's run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import Field

from kernelevolve.core.evaluation import Ratio, Status
from kernelevolve.core.record import Record
from kernelevolve.report.outcome import Outcome
from kernelevolve.report.summary import Summary

_NEVER_RUN = (Status.INVALID_SOURCE, Status.COMPILE_ERROR)
"""The statuses of kernels that did not compile."""


class Ending(StrEnum):
    """How the work on a task ended, beside the outcomes of a run that came to its end."""

    REFUSED = "refused"
    """The task cannot be worked on as it is; the reason says how to mend it."""
    FAILED = "failed"
    """The run broke off by an error of its own."""
    TIMEOUT = "timeout"
    """The run took longer than its budget and the patience of the sweep."""


class Row(Record):
    """The result of one task."""

    task: str
    """The name of the task."""
    task_id: str = ""
    """The hash of the task; empty if it could not be read."""
    status: Outcome | Ending
    """The outcome of the run, or how it ended without one."""
    speedup: Ratio | None = None
    """The speedup over eager PyTorch."""
    over_compile: Ratio | None = None
    """The speedup over torch.compile; None if it was not measured."""
    eager_seconds: float | None = Field(default=None, gt=0)
    """The seconds per call of eager PyTorch."""
    kernel_seconds: float | None = Field(default=None, gt=0)
    """The seconds per call of the best kernel, in the same measurement."""
    kernel: str = ""
    """The file of the best kernel, relative to the folder of the sweep; empty if there is none."""
    reason: str = ""
    """Why there is no correct kernel, or no speedup of it; empty if there are both."""
    compile_note: str = ""
    """Why torch.compile was not measured."""
    compiled: bool = False
    """Whether any kernel compiled."""
    kernels: int = 0
    """The number of distinct kernels that were evaluated."""
    seconds: float = 0.0
    """The wall-clock seconds of all phases of the run."""
    device: str = ""
    """The kind of hardware."""
    hardware: str = ""
    """The name of the hardware."""
    problem: tuple[int, int] | None = None
    """The level and the number of a problem of KernelBench."""

    @property
    def correct(self) -> bool:
        """Whether there is a correct kernel."""
        return bool(self.kernel)

    def to_json(self) -> dict[str, Any]:
        """Return the row as a line of `results.jsonl` and as an entry of `kernelevolve sweep --json`."""
        return {
            **self.model_dump(mode="json", exclude={"speedup", "over_compile"}),
            **_figures("speedup", self.speedup),
            **_figures("speedup_over_compile", self.over_compile),
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Row:
        """Return the row of such an entry. Raises KeyError or `pydantic.ValidationError` where it is none."""
        fields = dict(plain)
        speedup, over_compile = (
            _ratio(fields.pop(name), fields.pop(f"{name}_interval")) for name in ("speedup", "speedup_over_compile")
        )
        status = fields.pop("status")
        known = Ending(status) if status in list(Ending) else Outcome(status)
        return cls(**fields, status=known, speedup=speedup, over_compile=over_compile)


def row_of(task: str, task_id: str, folder: Path, kernel: str, problem: tuple[int, int] | None) -> Row | None:
    """Return the row of a run that came to its end; None if the folder holds no such run.

    Args:
        task: The name of the task.
        task_id: The hash of the task.
        folder: The folder of the run.
        kernel: The file of the best kernel, as the row names it.
        problem: The level and the number of a problem of KernelBench.
    """
    try:
        plain: dict[str, Any] = json.loads((folder / "run.json").read_text())
    except (OSError, ValueError):
        return None
    if plain["state"] != "done":
        return None
    summary = Summary.from_json(plain)
    best = plain["best"]
    common: dict[str, Any] = {
        "task": task,
        "task_id": task_id,
        "status": Outcome(plain["outcome"]),
        "compiled": any(n for status, n in summary.evaluations.items() if status not in _NEVER_RUN),
        "kernels": sum(summary.evaluations.values()),
        "seconds": sum(summary.seconds.get(phase, 0.0) for phase in ("start", "search", "final")),
        "device": summary.device,
        "hardware": next((summary.hardware[key] for key in ("model", "name", "cpu") if key in summary.hardware), ""),
        "problem": problem,
    }
    if best is None:
        dropped = "; ".join(plain["final"]["dropped"].values())
        return Row(**common, reason=f"{plain['outcome_text']}{dropped and f': {dropped}'}")
    return Row(
        **common,
        speedup=_ratio(best["speedup"], best["speedup_interval"]),
        over_compile=_ratio(best["speedup_over_compile"], best["speedup_over_compile_interval"]),
        eager_seconds=best["eager_seconds"],
        kernel_seconds=best["kernel_seconds"],
        kernel=kernel,
        reason=best["not_measured"] or "",
        compile_note=best["compile_note"],
    )


def _figures(name: str, ratio: Ratio | None) -> dict[str, Any]:
    return {
        name: ratio.value if ratio else None,
        f"{name}_interval": [ratio.low, ratio.high] if ratio else None,
    }


def _ratio(value: float | None, interval: Sequence[float] | None) -> Ratio | None:
    return Ratio(value=value, low=interval[0], high=interval[1]) if value is not None and interval is not None else None
