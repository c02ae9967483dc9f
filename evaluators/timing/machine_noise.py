"""Interpretation of the state of the machine during measurements."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kernelevolve.core.evaluation import MachineState

_TOLD_SHARE = 0.05
"""The least share of the cores' time that a message mentions."""


def quietest(states: Sequence[MachineState]) -> int:
    """Return the position of the measurement to keep: one that was not disturbed, or else the one that lost the least time."""
    lost = [(s.disturbed, (s.foreign_share or 0.0) + (s.steal_share or 0.0)) for s in states]
    return lost.index(min(lost))


def joined(states: Sequence[MachineState]) -> MachineState | None:
    """Return the combined state of several measurements of one kernel, or None if there are none."""
    if not states:
        return None

    def mean(shares: Iterable[float | None]) -> float | None:
        known = [(share, s.seconds) for share, s in zip(shares, states, strict=True) if share is not None]
        seconds = sum(weight for _, weight in known)
        return sum(share * weight for share, weight in known) / seconds if seconds else None

    def count(numbers: Iterable[int | None]) -> int | None:
        known = [number for number in numbers if number is not None]
        return sum(known) if known else None

    return MachineState(
        seconds=sum(s.seconds for s in states),
        cores=states[-1].cores,
        load=max(s.load for s in states),
        foreign_share=mean(s.foreign_share for s in states),
        steal_share=mean(s.steal_share for s in states),
        pressure_share=mean(s.pressure_share for s in states),
        clock_mhz=states[-1].clock_mhz,
        thermal_throttles=count(s.thermal_throttles for s in states),
        cgroup_throttles=count(s.cgroup_throttles for s in states),
        disturbed=any(s.disturbed for s in states),
        repeats=sum(s.repeats for s in states),
    )


def why_not(state: MachineState) -> str:
    """Return a text that says why a measurement was not precise enough."""
    return cause(state) or "equal calls took too different times"


def cause(state: MachineState) -> str:
    """Return a text that says what took the cores from a measurement, such as `other programs used 1.8 of 2 cores`.

    The text is empty if nothing took a notable share.
    """
    causes = [
        f"{who} used {share * state.cores:.1f} of {state.cores} cores"
        for who, share in (("other programs", state.foreign_share), ("other machines", state.steal_share))
        if state.cores and share and share >= _TOLD_SHARE
    ]
    if state.thermal_throttles:
        causes.append("the processor was too hot for its full clock")
    if state.cgroup_throttles:
        causes.append("our control group had used up its share of the processor")
    return ", ".join(causes)
