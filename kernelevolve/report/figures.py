"""Measured figures in words: what was told, what was not and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evaluators.settings import TimingSettings
from evaluators.timing.machine_noise import cause
from kernelevolve.core.evaluation import Evaluation, FallbackShare, MachineState, Measurement, Ratio


def ratio_text(ratio: Ratio) -> str:
    """`3.21x (3.15 to 3.28)`."""
    return f"{ratio.value:.2f}x ({ratio.low:.2f} to {ratio.high:.2f})"


def speedup_text(measured: Measurement) -> str:
    """The ratio, or `not measured`."""
    return ratio_text(measured.speedup) if measured.speedup is not None else "not measured"


def verdict_text(measured: Measurement) -> str:
    """`3.21x (3.15 to 3.28) over eager`, and what may not be concluded from it; or why there is no figure."""
    if measured.speedup is None:
        return f"not measured: {measured.not_measured}"
    doubt = "" if measured.speedup.faster else not_faster(measured.speedup)
    return f"{ratio_text(measured.speedup)} over eager{doubt and f': {doubt}'}"


def not_faster(ratio: Ratio) -> str:
    """Of a ratio whose interval reaches below 1."""
    return "slower than eager" if ratio.high < 1 else "faster or slower than eager, this measurement cannot tell"


def live_text(verdict: Evaluation) -> str:
    """Of a search's best so far: a guess is marked as one, and has no interval."""
    if verdict.speedup is not None:
        return ratio_text(verdict.speedup)
    return f"about {verdict.fitness:.1f}x (rough)"


def variants_text(variants: Mapping[str, Measurement]) -> str:
    """`rows_37 2.10x (2.05 to 2.16), rows_1000 ...`."""
    return ", ".join(f"{name} {speedup_text(timed)}" for name, timed in variants.items())


def speedup_json(speedup: Ratio | None, not_measured: str) -> dict[str, Any]:
    """The fields `speedup`, `speedup_interval` and `not_measured`, which `run.json` and `kernelevolve evaluate --json` share."""
    return {
        "speedup": speedup.value if speedup else None,
        "speedup_interval": [speedup.low, speedup.high] if speedup else None,
        "not_measured": not_measured or None,
    }


def variant_json(timed: Measurement) -> dict[str, Any]:
    """One entry of `variants` in `run.json` and in `kernelevolve evaluate --json`."""
    return {
        **speedup_json(timed.speedup, timed.not_measured),
        "eager_seconds": timed.reference_seconds,
        "kernel_seconds": timed.kernel_seconds,
    }


def fallback_text(fallback: FallbackShare) -> str:
    """`the reference's own operations served 12% of the calls that were checked (in 3% of the time): ...`."""
    return (
        f"the reference's own operations served {fallback.calls:.0%} of the calls that were checked "
        f"(in {fallback.seconds:.0%} of the time): inputs that the kernel was not written for"
    )


def machine_text(machine: MachineState, measured: Measurement | None) -> str:
    """Of a disturbed measurement: `meanwhile other programs used 0.6 of 2 cores; ...`."""
    who = cause(machine) or "something took the cores"
    repeats = f"; measurements thrown away: {machine.repeats}" if machine.repeats else ""
    rounds = ""
    if measured is not None and measured.disturbed_rounds:
        rounds = f"; they disturbed {measured.disturbed_rounds} of {measured.rounds} rounds"
    return f"meanwhile {who}{rounds}{repeats}"


def plan_text(final: TimingSettings, kernels: int, *, with_compile: bool) -> str:
    """What the last measurement will do, and how long that takes."""
    seconds = final.max_seconds * (kernels + with_compile)
    against = "eager and torch.compile" if with_compile else "eager"
    return (
        f"measuring the best {kernels} against {against}: about {seconds:.0f} s, "
        f"up to {final.disturbed_factor * seconds:.0f} s where other programs use the cores"
    )
