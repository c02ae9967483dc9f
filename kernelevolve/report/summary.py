"""The result of a run: `run.json`, and the table that a person sees at the end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from kernelevolve.core.evaluation import FallbackShare, Measurement, Ratio, Status
from kernelevolve.core.record import Record
from kernelevolve.core.usage import Usage
from kernelevolve.report.figures import fallback_text, not_faster, ratio_text, speedup_json, variant_json, variants_text
from kernelevolve.report.outcome import Outcome, outcome_of, outcome_text

FORMAT = 1


class Best(Record):
    """The fastest correct kernel, and what was measured of it."""

    node: str
    kernel_id: str
    speedup: Ratio | None
    """Over eager; None where it could not be told:"""
    not_measured: str = ""
    """why not."""
    speedup_over_compile: Ratio | None
    """None where torch.compile was not measured; `compile_note` says why."""
    compile_note: str = ""
    eager_seconds: float = Field(gt=0)
    kernel_seconds: float = Field(gt=0)
    """Per call, of the same measurement as `speedup`."""
    measured: str
    """`final`: again and more precisely after the search, against eager and torch.compile. `search`: while searching."""
    variants: Mapping[str, Measurement] = {}
    """Over eager, of the task's further inputs by name, where they were measured."""
    note: str = ""
    """What its operator did last, for a person."""
    fallback: FallbackShare | None = None
    """How much of its work it left to the reference's own operations, where it counts."""
    warnings: tuple[str, ...] = ()
    """Why its verdict says less than it seems to."""

    @model_validator(mode="after")
    def _told_or_not(self) -> Self:
        if (self.speedup is None) != bool(self.not_measured):
            raise ValueError("the best has a speedup, or a reason why it could not be measured")
        return self


class Summary(Record):
    """All of a run in numbers."""

    run: str
    task: str
    device: str
    seed: int
    state: str
    """`done` or `interrupted`."""
    stop: str
    """The rule that ended it, in words."""
    best: Best | None
    """None while no kernel was proven correct, and where none came through the last measurement."""
    final_note: str = ""
    """Why the last measurement was not made; empty where it was."""
    dropped: Mapping[str, str] = {}
    """Kernel id -> why it failed in the last measurement."""
    failures: tuple[tuple[int, str], ...] = ()
    """Kernels and why they failed, the commonest reasons first."""
    under_way: tuple[str, ...] = ()
    """Where the run ended before anything was judged: what was going on then."""
    evaluations: Mapping[str, int]
    """Distinct kernels by status; every status is there."""
    nodes: int
    """Proposals, those that came back to a known kernel included."""
    usage: Usage = Usage()
    """Of models, over all sessions;"""
    usage_by_model: Mapping[str, Usage] = {}
    usage_by_island: Mapping[str, Usage] = {}
    """by an island's number."""
    seconds: Mapping[str, float]
    """Wall clock: `start`, `search` (over all sessions) and `final` are phases; `first_correct` is counted from the start of the
    search to the first correct kernel."""
    versions: Mapping[str, str]
    hardware: Mapping[str, str]

    @property
    def outcome(self) -> Outcome:
        best = self.best
        speedup = best.speedup if best else None
        return outcome_of(speedup, correct=best is not None, judged=sum(self.evaluations.values()))

    @property
    def outcome_text(self) -> str:
        """One sentence; "" where the figures say it."""
        return outcome_text(self.outcome, self.stop, self.failures, self.under_way, len(self.dropped))

    def to_json(self) -> dict[str, Any]:
        """What `run.json` holds."""
        best = None
        if self.best is not None:
            over_compile = self.best.speedup_over_compile
            best = {
                **speedup_json(self.best.speedup, self.best.not_measured),
                "speedup_over_compile": over_compile.value if over_compile else None,
                "speedup_over_compile_interval": [over_compile.low, over_compile.high] if over_compile else None,
                "compile_note": self.best.compile_note,
                "confidence": self.best.speedup.confidence if self.best.speedup else None,
                "eager_seconds": self.best.eager_seconds,
                "kernel_seconds": self.best.kernel_seconds,
                "measured": self.best.measured,
                "variants": {name: variant_json(timed) for name, timed in self.best.variants.items()},
                "kernel": "best/kernel.py",
                "kernel_id": self.best.kernel_id,
                "node": self.best.node,
                "note": self.best.note,
                "fallback": self.best.fallback.model_dump() if self.best.fallback else None,
                "warnings": list(self.best.warnings),
            }
        plain = self.model_dump(mode="json", exclude={"best", "final_note", "dropped", "failures", "under_way"})
        failures = [{"kernels": count, "reason": reason} for count, reason in self.failures]
        ended = {"outcome": self.outcome.value, "outcome_text": self.outcome_text, "failures": failures}
        final = {"note": self.final_note, "dropped": dict(self.dropped)}
        return {"format": FORMAT, **plain, **ended, "best": best, "final": final}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """All of what `to_json` wrote but its best. Raises `pydantic.ValidationError` where it is something else."""
        derived = {"format", "best", "final", "outcome", "outcome_text"}
        plain = {name: value for name, value in data.items() if name not in derived}
        failures = [(told["kernels"], told["reason"]) for told in data.get("failures", ())]
        return cls.model_validate({**plain, "best": None, "failures": failures})


def count_by_status(statistics: Mapping[str, float]) -> dict[str, int]:
    """Distinct kernels by status from a store's statistics."""
    return {str(status): int(statistics.get(f"status.{status}", 0)) for status in Status}


def table(summary: Summary, folder: Path) -> RenderableType:
    """The closing table, and where the best kernel lies."""
    result = Table(title=None, show_edge=True, header_style="bold")
    result.add_column("task", overflow="fold")
    result.add_column("over eager (95%)", justify="right", no_wrap=True)
    result.add_column("over torch.compile", justify="right", no_wrap=True)
    result.add_column("kernels", justify="right")
    result.add_column("time", justify="right")
    notes = [f"dropped in the last measurement: {kernel}: {why}" for kernel, why in summary.dropped.items()]
    if summary.final_note and summary.best is not None:
        notes.append(f"no last measurement: {summary.final_note}")
    kernels = str(sum(summary.evaluations.values()))
    time = f"{sum(summary.seconds.get(phase, 0.0) for phase in ('start', 'search', 'final')):.0f} s"
    if summary.usage.tokens:
        cost = f", ${summary.usage.cost:.2f} by the price list" if summary.usage.cost else ""
        each = [f"{name} {used.tokens:,}" for name, used in summary.usage_by_model.items()]
        told = f" ({', '.join(each)})" if len(each) > 1 else ""
        notes.append(f"models: {summary.usage.tokens:,} tokens{cost}{told}")
    best = summary.best
    if best is None:
        result.add_row(summary.task, "none", "-", kernels, time)
        notes.insert(0, summary.outcome_text)
        return Group(result, *(Text(note, overflow="fold") for note in notes))
    over_compile = ratio_text(best.speedup_over_compile) if best.speedup_over_compile else "not measured"
    over_eager = ratio_text(best.speedup) if best.speedup else "not measured"
    result.add_row(summary.task, over_eager, over_compile, kernels, time)
    if best.speedup_over_compile is None and best.compile_note:
        notes.insert(0, f"over torch.compile: {best.compile_note}")
    if best.variants:
        notes.insert(0, f"variants over eager: {variants_text(best.variants)}")
    if best.fallback and best.fallback.calls > 0:
        notes.insert(0, fallback_text(best.fallback))
    if best.speedup is not None and not best.speedup.faster:
        notes.insert(0, f"{summary.outcome_text}; the best kernel: {not_faster(best.speedup)}")
    if best.speedup is None:
        notes.insert(0, f"not measured: {best.not_measured}; `kernelevolve measure {folder}` measures again")
    notes[:0] = [f"beware: {why}" for why in best.warnings]
    notes.append(f"best kernel: {folder / 'best' / 'kernel.py'}")
    return Group(result, *(Text(note, overflow="fold") for note in notes))
