"""The closing table of a sweep, and the same as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from kernelevolve.core.evaluation import Ratio
from kernelevolve.report.figures import ratio_text
from kernelevolve.sweeping.row import Row
from kernelevolve.sweeping.scores import Scores, scores_of


def table(rows: Sequence[Row], folder: Path) -> RenderableType:
    """Render the rows, the scores, and where the best kernels and the files for KernelBench are."""
    shown = Table(header_style="bold")
    for column in ("task", "status"):
        shown.add_column(column, overflow="fold")
    for column in ("over eager (95%)", "over torch.compile"):
        shown.add_column(column, justify="right", no_wrap=True)
    shown.add_column("best kernel, or why there is none", overflow="fold")
    for row in rows:
        remark = row.kernel + (f" ({row.reason})" if row.reason else "") if row.correct else row.reason
        shown.add_row(Text(row.task), row.status.value, _figure(row.speedup), _figure(row.over_compile), Text(remark))
    notes = [
        *_lines(scores_of(rows)),
        f"kernels are in {folder}; KernelBench's scripts read the files in {folder / 'kernelbench'}",
    ]
    return Group(shown, *(Text(note, overflow="fold") for note in notes))


def as_json(rows: Sequence[Row], folder: Path) -> dict[str, Any]:
    """Return the rows and the scores as plain data."""
    scores = scores_of(rows)
    return {
        "folder": str(folder),
        "tasks": [row.to_json() for row in rows],
        "correct": scores.correct,
        "fast_p": scores.fast,
        "fast_p_whole_interval": scores.surely_fast,
        "geometric_mean_over_eager": scores.over_eager,
        "geometric_mean_over_compile": scores.over_compile,
    }


def _figure(ratio: Ratio | None) -> str:
    return ratio_text(ratio) if ratio else "-"


def _lines(scores: Scores) -> Iterator[str]:
    yield f"{scores.correct} of {scores.tasks} tasks have a correct kernel"
    means = {"eager": scores.over_eager, "torch.compile": scores.over_compile}
    told = [f"{mean:.2f}x over {name}" for name, mean in means.items() if mean is not None]
    if told:
        yield f"geometric mean of the measured speedups: {', '.join(told)}"
    yield f"KernelBench's fast_p:                 {_shares(scores.fast)}"
    yield f"with the whole 95% interval above p:  {_shares(scores.surely_fast)}"


def _shares(shares: dict[str, float]) -> str:
    return "  ".join(f"fast_{p} {share:.2f}" for p, share in shares.items())
