"""The stopwatch: several implementations, each in a process of its own, timed in turns on the same fresh values.

A timed block is a number of calls, each on inputs of its own, which are written while the player stands still: nothing that it
computed or stored before fits them. It returns all of their outputs, which lie in its memory when the clock, in another process,
stops; one, chosen afterwards, is read from there and held against the reference's. While one runs the others are stopped.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import torch

from evaluators.arena import TABLE_BYTES, layout_of
from evaluators.correctness import Bounds, compare
from evaluators.reference import Case
from evaluators.seat import Returned, Seat
from evaluators.settings import TimingSettings
from evaluators.tensors import span_of
from evaluators.verdict import FailedError, Failure, failed
from kernelevolve.core.evaluation import Status

_T = TypeVar("_T")
Times = Mapping[str, Sequence[float]]
"""Seconds per call by name, one for each round."""
Enough = Callable[[Times, float], bool]
"""(times so far, seconds so far) -> whether to stop."""

_CHECKED_ELEMENTS = 1 << 16
"""Of an output, and of an input, that are looked at after a block: anywhere in them."""
_ESTIMATES = 2
_WARM_BLOCKS = 3
_OVERHEADS = 5
_RELAXED = 2.0
_LEAST_SCALE = 0.8
REFERENCE = "eager"


@dataclass
class Contestant:
    """One of those that are timed."""

    seat: Seat
    checked: bool
    """Whether its outputs are held against the reference's."""
    calls: int = 1
    returned: Returned | None = None
    """What a call of it looks like."""
    failure: Failure | None = field(default=None, init=False)


@dataclass(frozen=True)
class Values:
    """The inputs of one call: a draw, its tensors multiplied by these (None: left as they are)."""

    draw: int
    factors: tuple[float | None, ...]


@dataclass(frozen=True)
class _Claim:
    """A piece of an output that a candidate left behind, to be held against the reference's."""

    name: str
    values: Values
    output: int
    start: int
    piece: torch.Tensor


class FreshValues:
    """Inputs that no player has seen: draws of the task's own, the floating ones scaled by a random factor.

    Masks, flags and the like, which hold little but 0 and ±1, are left as they are.
    """

    def __init__(self, case: Case, rng: random.Random) -> None:
        self._rng = rng
        self._draws = [case.load(draw) for draw in range(case.draws)]
        self._scaled = [_varied(value) for value in self._draws[0]]

    def choose(self) -> Values:
        draw = self._rng.randrange(len(self._draws))
        factors = (self._rng.uniform(_LEAST_SCALE, 1.0) if scaled else None for scaled in self._scaled)
        return Values(draw, tuple(factors))

    def write(self, values: Values, into: Sequence[object]) -> None:
        for source, target, factor in zip(self._draws[values.draw], into, values.factors, strict=True):
            if not isinstance(target, torch.Tensor):
                continue
            if factor is None:
                target.copy_(source)
            else:
                torch.mul(source, factor, out=target)

    def unchanged(self, values: Values, found: Sequence[object]) -> int | None:
        """The position of an input that is not as it was written, as far as a piece of each shows."""
        for i, (source, tensor, factor) in enumerate(zip(self._draws[values.draw], found, values.factors, strict=True)):
            if not isinstance(tensor, torch.Tensor):
                continue
            flat, wanted = _memory(tensor), _memory(source)
            start = self._rng.randrange(max(1, flat.numel() - _CHECKED_ELEMENTS + 1))
            piece = wanted[start : start + _CHECKED_ELEMENTS]
            if not same_bits(piece if factor is None else piece * factor, flat[start : start + _CHECKED_ELEMENTS]):
                return i
        return None


def _memory(tensor: torch.Tensor) -> torch.Tensor:
    """All of its elements as they lie, for a tensor with memory of its own."""
    return tensor.as_strided((span_of(tensor.shape, tensor.stride()),), (1,))


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Equal, NaN included."""
    if a.is_floating_point():
        integer = {2: torch.int16, 4: torch.int32, 8: torch.int64}[a.element_size()]
        return bool(torch.equal(a.view(integer), b.view(integer)))
    return bool(torch.equal(a, b))


def _varied(value: object) -> bool:
    if not isinstance(value, torch.Tensor) or not value.is_floating_point() or value.numel() == 0:
        return False
    plain = (value == 0) | (value.abs() == 1) | ~value.isfinite()
    return bool(plain.float().mean() < 0.5)


def slots_for(case: Case, settings: TimingSettings) -> int:
    """Calls that a block of this case may have: as many as their inputs, and their outputs, leave room for."""
    room = settings.block_mb << 20
    inputs = layout_of(case.inputs).slot_bytes
    outputs = sum(
        (case.answers.folder / f"{case.answers.prefix}native{i}").stat().st_size
        for i in range(len(case.answers.native))
    )
    table = TABLE_BYTES // 8 // max(1, len(case.answers.native))
    return max(1, min(settings.most_calls, room // inputs, room // max(1, outputs), table))


class Stopwatch:
    """Times one case. `reference` and the candidates must have been built; the gate must be held."""

    def __init__(
        self,
        reference: Seat,
        others: Mapping[str, Contestant],
        case: Case,
        bounds: Sequence[Bounds],
        settings: TimingSettings,
        seed: int,
    ) -> None:
        """`bounds`: of the case's outputs. `seed`: of what nobody must foresee."""
        self._rng = random.Random(seed)
        self._settings = settings
        self._bounds = bounds
        self._values = FreshValues(case, self._rng)
        self._slots = slots_for(case, settings)
        self._case = case
        self._all: dict[str, Contestant] = {REFERENCE: Contestant(reference, checked=False), **others}
        self._claims: list[_Claim] = []
        self._overhead = 0.0

    @property
    def failures(self) -> dict[str, Failure]:
        return {name: c.failure for name, c in self._all.items() if c.failure is not None}

    def run(self, enough: Enough) -> dict[str, tuple[float, ...]]:
        """Seconds per call of all that did not fail, until it is `enough`. Raises FailedError where the reference fails."""
        begin = time.monotonic()
        times: dict[str, list[float]] = {name: [] for name in self._all}
        self._each(self._lay_out)
        self._overhead = self._measure_overhead()
        self._each(self._choose_calls)
        round_ = 0
        while len(self._alive()) > 1 or (len(self._all) == 1 and round_ == 0):
            values = [self._values.choose() for _ in range(max(c.calls for c in self._alive().values()))]
            order = list(self._alive())
            for name in order if round_ % 2 == 0 else reversed(order):
                taken = self._guarded(name, partial(self._block, name, values))
                if taken is not None:
                    times[name].append(taken)
            self._settle()
            round_ += 1
            alive = {name: times[name] for name in self._alive()}
            if enough(alive, time.monotonic() - begin):
                break
        return {name: tuple(times[name]) for name in self._alive()}

    def _alive(self) -> dict[str, Contestant]:
        return {name: c for name, c in self._all.items() if c.failure is None}

    def _each(self, work: Callable[[Contestant], None]) -> None:
        for name in self._alive():
            self._guarded(name, work)

    def _guarded(self, name: str, work: Callable[[Contestant], _T]) -> _T | None:
        """None where the contestant failed in it, which ends its part."""
        contestant = self._all[name]
        try:
            return work(contestant)
        except FailedError as error:
            if name == REFERENCE:
                raise
            contestant.failure = error.failure
            return None

    def _lay_out(self, contestant: Contestant) -> None:
        seat = contestant.seat
        seat.lay_out(self._case.inputs, 1)
        self._values.write(self._values.choose(), seat.inputs(0))
        for _ in range(self._settings.warmup_calls):
            contestant.returned = self._as_expected(seat, seat.call([0])[0])

    def _as_expected(self, seat: Seat, returned: Returned) -> Returned:
        native = self._case.answers.native
        shapes = [(tuple(m["shape"]), m["dtype"]) for m in native]
        if [
            (o.shape, o.dtype) for o in returned.outputs
        ] != shapes or returned.structure != self._case.answers.structure:
            raise failed(Status.WRONG_SHAPE, seat.stage, f"{self._case.label}: another shape or structure than before")
        return returned

    def _measure_overhead(self) -> float:
        """Seconds from here to a player and back."""
        seat = self._all[REFERENCE].seat
        found = []
        for _ in range(_OVERHEADS):
            seat.prepare(0, len(self._case.answers.native), [0])
            found.append(seat.block())
        return min(found)

    def _choose_calls(self, contestant: Contestant) -> None:
        count = len(self._case.answers.native)
        once = math.inf
        for _ in range(_ESTIMATES):
            contestant.seat.prepare(1, count, [0])
            once = min(once, contestant.seat.block() - self._overhead)
        contestant.calls = max(1, min(self._slots, round(self._settings.block_seconds / max(once, 1e-7))))
        slots = self._slots if contestant is self._all[REFERENCE] else contestant.calls
        contestant.seat.lay_out(self._case.inputs, slots)
        for slot in range(contestant.calls):
            self._values.write(self._values.choose(), contestant.seat.inputs(slot))
        for _ in range(_WARM_BLOCKS):  # Memory that outputs go to is taken from the system here, not on the clock.
            contestant.seat.prepare(contestant.calls, count, [0])
            contestant.seat.block()

    def _block(self, name: str, values: Sequence[Values], contestant: Contestant) -> float:
        """Seconds per call of a block with as many of the values as it takes."""
        values = values[: contestant.calls]
        seat = contestant.seat
        seat.prepare(contestant.calls, len(self._case.answers.native), [0])
        for slot, chosen in enumerate(values):
            self._values.write(chosen, seat.inputs(slot))
        taken = seat.block()
        if contestant.checked:
            self._claim(name, contestant, values)
        return max(taken - self._overhead, 1e-9) / contestant.calls

    def _claim(self, name: str, contestant: Contestant, values: Sequence[Values]) -> None:
        """Take a piece of the output of one of the calls."""
        seat, returned = contestant.seat, contestant.returned
        if returned is None:
            raise RuntimeError("a block before the first call")
        call, output = self._rng.randrange(len(values)), self._rng.randrange(len(returned.outputs))
        described = returned.outputs[output]
        pointers = seat.pointers(len(values) * len(returned.outputs))
        start = self._rng.randrange(max(1, described.numel - _CHECKED_ELEMENTS + 1))
        stop = min(described.numel, start + _CHECKED_ELEMENTS)
        piece = seat.read_run(described, pointers[call * len(returned.outputs) + output], start, stop)
        changed = self._values.unchanged(values[call], seat.inputs(call))
        if changed is not None:
            raise failed(
                Status.WRONG_RESULT, seat.stage, f"{self._case.label}: input {changed} was changed in a timed call"
            )
        self._claims.append(_Claim(name, values[call], output, start, piece))

    def _settle(self) -> None:
        """Have the reference compute what candidates claim."""
        seat = self._all[REFERENCE].seat
        while self._claims:
            batch, self._claims = self._claims[: self._slots], self._claims[self._slots :]
            for slot, claim in enumerate(batch):
                self._values.write(claim.values, seat.inputs(slot))
            self._verify(seat, batch, seat.call(list(range(len(batch)))))

    def _verify(self, seat: Seat, claims: Sequence[_Claim], told: Sequence[Returned]) -> None:
        for claim, returned in zip(claims, told, strict=True):
            contestant = self._all[claim.name]
            output = returned.outputs[claim.output]
            expected = seat.read_run(output, output.pointer, claim.start, claim.start + claim.piece.numel())
            bounds = self._bounds[claim.output].relaxed(_RELAXED)
            wrong = compare(claim.piece, expected, expected, bounds, f"{self._case.label}, a timed call")
            if wrong is not None and contestant.failure is None:
                contestant.failure = Failure(wrong.status, contestant.seat.stage, wrong.summary, wrong.details)


def spread(slow: Sequence[float], fast: Sequence[float]) -> tuple[float, float]:
    """Median of the log ratios and the half-width of its 95% interval, by the median absolute deviation."""
    logs = sorted(math.log(a / b) for a, b in zip(slow, fast, strict=True))
    middle = logs[len(logs) // 2]
    deviation = sorted(abs(x - middle) for x in logs)[len(logs) // 2]
    return middle, 1.96 * 1.2533 * 1.4826 * deviation / math.sqrt(len(logs))


class TightEnough:
    """For a pair: until the interval of the ratio is tight, or the ratio is surely below `floor` (then `dropped`), or time is up."""

    def __init__(self, settings: TimingSettings, floor: float | None = None) -> None:
        self._settings = settings
        self._floor = floor
        self.dropped = False

    def __call__(self, times: Times, seconds: float) -> bool:
        if len(times) < 2:
            return True
        slow, fast = times.values()
        settings = self._settings
        if len(fast) < settings.min_rounds:
            return seconds > 4 * settings.max_seconds
        middle, half = spread(slow, fast)
        self.dropped = self._floor is not None and middle + half < math.log(self._floor)
        return (
            self.dropped
            or half < settings.target_interval
            or seconds > settings.max_seconds
            or len(fast) >= settings.max_rounds
        )


class LongEnough:
    """For many: `max_seconds` and `min_rounds`; rounds so long that these take twice that time are fewer."""

    def __init__(self, settings: TimingSettings) -> None:
        self._settings = settings

    def __call__(self, times: Times, seconds: float) -> bool:
        settings = self._settings
        rounds = len(next(iter(times.values())))
        if rounds >= settings.max_rounds:
            return True
        return seconds > settings.max_seconds * (1 if rounds >= settings.min_rounds else 2)
