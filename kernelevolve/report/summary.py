"""The summary of a run: `run.json`, and the table at the end of a run."""

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
from kernelevolve.core.target import Ceilings, Peak, Quantity
from kernelevolve.core.usage import Usage
from kernelevolve.report.figures import fallback_text, not_faster, ratio_text, speedup_json, variant_json, variants_text
from kernelevolve.report.outcome import Outcome, outcome_of, outcome_text

FORMAT = 1
"""The version of `run.json`."""


class Best(Record):
    """The fastest correct kernel and its figures."""

    node: str
    """The id of its node."""
    kernel_id: str
    speedup: Ratio | None
    """The speedup over eager PyTorch; None if it could not be determined."""
    not_measured: str = ""
    """The reason why there is no speedup; empty if there is one."""
    speedup_over_compile: Ratio | None
    """The speedup over torch.compile; None if that was not measured."""
    compile_note: str = ""
    """The reason why torch.compile was not measured."""
    eager_seconds: float = Field(gt=0)
    """The seconds per call of eager PyTorch, in the same measurement as `speedup`."""
    kernel_seconds: float = Field(gt=0)
    """The seconds per call of the kernel, in the same measurement as `speedup`."""
    measured: str
    """The measurement that the figures come from. `final`: the more precise one after the search, against eager and
    torch.compile. `search`: the one during the search.
    """
    variants: Mapping[str, Measurement] = {}
    """Name of a further input of the task -> the measurement over eager, if it was made."""
    note: str = ""
    """The last change by the operator, for people."""
    fallback: FallbackShare | None = None
    """The share of the work that the kernel left to the reference's operations; None unless it counts them."""
    warnings: tuple[str, ...] = ()
    """The reasons why the verdict is weaker than it seems."""

    @model_validator(mode="after")
    def _speedup_or_reason(self) -> Self:
        if (self.speedup is None) != bool(self.not_measured):
            raise ValueError("the best has a speedup, or a reason why it could not be measured")
        return self


class Summary(Record):
    """The results of a run."""

    run: str
    task: str
    device: str
    seed: int
    state: str
    """The state of the run: `done` or `interrupted`."""
    stop: str
    """The rule that ended the run."""
    best: Best | None
    """The best kernel; None if no kernel is correct, or none passed the final measurement."""
    final_note: str = ""
    """The reason why there was no final measurement; empty if there was one."""
    dropped: Mapping[str, str] = {}
    """Kernel id -> the reason why it failed in the final measurement."""
    failures: tuple[tuple[int, str], ...] = ()
    """The reasons why kernels failed with the number of kernels, the most frequent first."""
    in_flight: tuple[str, ...] = ()
    """The work in progress at the end of a run that evaluated nothing."""
    evaluations: Mapping[str, int]
    """Status -> the number of distinct kernels. Every status is present."""
    nodes: int
    """The number of proposals, those of known kernels included."""
    usage: Usage = Usage()
    """The usage of models over all sessions."""
    usage_by_model: Mapping[str, Usage] = {}
    """Model -> its usage."""
    usage_by_island: Mapping[str, Usage] = {}
    """Number of an island -> its usage."""
    seconds: Mapping[str, float]
    """Phase -> wall-clock seconds. The phases are `start`, `search` (over all sessions) and `final`; `first_correct` is
    the time from the start of the search to the first correct kernel.
    """
    versions: Mapping[str, str]
    """The versions of packages and toolchains."""
    hardware: Mapping[str, str]
    """The properties of the hardware."""
    peaks: Mapping[Peak, Quantity] = {}
    """The rates that the device cannot exceed, as far as they are known."""
    ceilings: Ceilings | None = None
    """The rates that the device reached in a measurement; None for a device that has no such measurement."""

    @property
    def outcome(self) -> Outcome:
        """The outcome of the run."""
        best = self.best
        speedup = best.speedup if best else None
        return outcome_of(speedup, correct=best is not None, judged=sum(self.evaluations.values()))

    @property
    def outcome_text(self) -> str:
        """The outcome in one sentence; "" if the figures explain it."""
        return outcome_text(self.outcome, self.stop, self.failures, self.in_flight, len(self.dropped))

    def to_json(self) -> dict[str, Any]:
        """Return the content of `run.json`."""
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
        fields = self.model_dump(mode="json", exclude={"best", "final_note", "dropped", "failures", "in_flight"})
        failures = [{"kernels": count, "reason": reason} for count, reason in self.failures]
        ended = {"outcome": self.outcome.value, "outcome_text": self.outcome_text, "failures": failures}
        final = {"note": self.final_note, "dropped": dict(self.dropped)}
        return {"format": FORMAT, **fields, **ended, "best": best, "final": final}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return a summary without its best kernel from the content of `run.json`.

        Raises `pydantic.ValidationError`.
        """
        derived = {"format", "best", "final", "outcome", "outcome_text"}
        fields = {name: value for name, value in data.items() if name not in derived}
        failures = [(failure["kernels"], failure["reason"]) for failure in data.get("failures", ())]
        return cls.model_validate({**fields, "best": None, "failures": failures})


def count_by_status(statistics: Mapping[str, float]) -> dict[str, int]:
    """Return the number of distinct kernels by status from a store's statistics."""
    return {str(status): int(statistics.get(f"status.{status}", 0)) for status in Status}


def table(summary: Summary, folder: Path) -> RenderableType:
    """Render the closing table, with the path of the best kernel."""
    result = Table(title=None, show_edge=True, header_style="bold")
    result.add_column("task", overflow="fold")
    result.add_column("over eager (95%)", justify="right", no_wrap=True)
    result.add_column("over torch.compile", justify="right", no_wrap=True)
    result.add_column("kernels", justify="right")
    result.add_column("time", justify="right")
    notes = [f"dropped in the final measurement: {kernel}: {why}" for kernel, why in summary.dropped.items()]
    if summary.final_note and summary.best is not None:
        notes.append(f"no final measurement: {summary.final_note}")
    kernels = str(sum(summary.evaluations.values()))
    time = f"{sum(summary.seconds.get(phase, 0.0) for phase in ('start', 'search', 'final')):.0f} s"
    if summary.usage.tokens:
        cost = f", ${summary.usage.cost:.2f} by the price list" if summary.usage.cost else ""
        each = [f"{name} {used.tokens:,}" for name, used in summary.usage_by_model.items()]
        by_model = f" ({', '.join(each)})" if len(each) > 1 else ""
        notes.append(f"models: {summary.usage.tokens:,} tokens{cost}{by_model}")
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
    notes[:0] = [f"warning: {why}" for why in best.warnings]
    notes.append(f"best kernel: {folder / 'best' / 'kernel.py'}")
    return Group(result, *(Text(note, overflow="fold") for note in notes))
