"""Measured figures as text: values, missing values and the reasons for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evaluators.settings import TimingSettings
from evaluators.timing.machine_noise import cause
from kernelevolve.core.evaluation import Evaluation, FallbackShare, MachineState, Measurement, Ratio


def ratio_text(ratio: Ratio) -> str:
    """Format a ratio: `3.21x (3.15 to 3.28)`."""
    return f"{ratio.value:.2f}x ({ratio.low:.2f} to {ratio.high:.2f})"


def speedup_text(measured: Measurement) -> str:
    """Format a speedup: the ratio, or `not measured`."""
    return ratio_text(measured.speedup) if measured.speedup is not None else "not measured"


def verdict_text(measured: Measurement) -> str:
    """Format a measurement: `3.21x (3.15 to 3.28) over eager`.

    A caveat is added if it is not faster. Without a speedup, the reason is returned.
    """
    if measured.speedup is None:
        return f"not measured: {measured.not_measured}"
    doubt = "" if measured.speedup.faster else not_faster(measured.speedup)
    return f"{ratio_text(measured.speedup)} over eager{doubt and f': {doubt}'}"


def not_faster(ratio: Ratio) -> str:
    """Describe a ratio whose interval reaches below 1."""
    return "slower than eager" if ratio.high < 1 else "faster or slower than eager, this measurement cannot tell"


def live_text(evaluation: Evaluation) -> str:
    """Format the best of a running search. An estimate is marked as rough and has no interval."""
    if evaluation.speedup is not None:
        return ratio_text(evaluation.speedup)
    return f"about {evaluation.fitness:.1f}x (rough)"


def variants_text(variants: Mapping[str, Measurement]) -> str:
    """Format the speedups of variants: `rows_37 2.10x (2.05 to 2.16), rows_1000 ...`."""
    return ", ".join(f"{name} {speedup_text(timed)}" for name, timed in variants.items())


def speedup_json(speedup: Ratio | None, not_measured: str) -> dict[str, Any]:
    """Return the fields that `run.json` and `kernelevolve evaluate --json` share for a speedup.

    They are `speedup`, `speedup_interval` and `not_measured`.
    """
    return {
        "speedup": speedup.value if speedup else None,
        "speedup_interval": [speedup.low, speedup.high] if speedup else None,
        "not_measured": not_measured or None,
    }


def variant_json(timed: Measurement) -> dict[str, Any]:
    """Return one entry of `variants` in `run.json` and in `kernelevolve evaluate --json`."""
    return {
        **speedup_json(timed.speedup, timed.not_measured),
        "eager_seconds": timed.reference_seconds,
        "kernel_seconds": timed.kernel_seconds,
    }


def fallback_text(fallback: FallbackShare) -> str:
    """Describe how much work a kernel left to the reference's operations."""
    return (
        f"the reference's own operations served {fallback.calls:.0%} of the calls that were checked "
        f"(in {fallback.seconds:.0%} of the time): inputs that the kernel was not written for"
    )


def machine_text(machine: MachineState, measured: Measurement | None) -> str:
    """Describe what disturbed a measurement: `meanwhile other programs used 0.6 of 2 cores; ...`."""
    who = cause(machine) or "something took the cores"
    repeats = f"; discarded measurements: {machine.repeats}" if machine.repeats else ""
    rounds = ""
    if measured is not None and measured.disturbed_rounds:
        rounds = f"; they disturbed {measured.disturbed_rounds} of {measured.rounds} rounds"
    return f"meanwhile {who}{rounds}{repeats}"


def plan_text(final: TimingSettings, kernels: int, *, with_compile: bool) -> str:
    """Describe the final measurement and its expected duration."""
    seconds = final.max_seconds * (kernels + with_compile)
    against = "eager and torch.compile" if with_compile else "eager"
    first = (
        "compiling eager with torch.compile and checking the kernels again" if with_compile else "checking them again"
    )
    return (
        f"measuring the best {kernels} against {against}: about {seconds:.0f} s, "
        f"up to {final.disturbed_factor * seconds:.0f} s if other programs use the cores, after {first}"
    )
