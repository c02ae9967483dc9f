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
from evaluators.fresh import FreshValues, Values, Watch
from evaluators.reference import Case
from evaluators.seat import Returned, Seat
from evaluators.settings import TimingSettings
from evaluators.stopping import Taken, Times
from evaluators.verdict import FailedError, Failure, failed
from kernelevolve.core.evaluation import Status

_T = TypeVar("_T")
Enough = Callable[[Times, float], bool]
"""(blocks so far, seconds so far) -> whether to stop."""

_CHECKED_ELEMENTS = 1 << 16
"""Of an output, anywhere in it, that are looked at after a block."""
_ESTIMATES = 2
_WARM_BLOCKS = 3
_PADDING_BYTES = 1 << 21
"""Most that is allocated before a block, so that results lie elsewhere in each."""
_OVERHEADS = 5
_RELAXED = 2.0
REFERENCE = "eager"


@dataclass
class Contestant:
    """One of those that are timed, in one process or in several alike."""

    seats: Sequence[Seat]
    checked: bool
    """Whether its outputs are held against the reference's."""
    returned: Returned | None = field(default=None, init=False)
    """What a call of it looks like."""
    failure: Failure | None = field(default=None, init=False)


@dataclass(frozen=True)
class _Claim:
    """A piece of an output that a candidate left behind, to be held against the reference's."""

    name: str
    stage: str
    values: Values
    output: int
    start: int
    piece: torch.Tensor


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
    """Times one case. What it is given must have been built; the gate must be held."""

    def __init__(
        self,
        reference: Sequence[Seat],
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
        self._outputs = len(case.answers.native)
        self._all: dict[str, Contestant] = {REFERENCE: Contestant(reference, checked=False), **others}
        self._claims: list[_Claim] = []
        self._overhead = 0.0
        self._calls = 1

    @property
    def failures(self) -> dict[str, Failure]:
        return {name: c.failure for name, c in self._all.items() if c.failure is not None}

    def run(self, enough: Enough) -> dict[str, tuple[Taken, ...]]:
        """Blocks of all that did not fail, until it is `enough`. Raises FailedError where the reference fails."""
        begin = time.monotonic()
        times: dict[str, list[Taken]] = {name: [] for name in self._all}
        self._each(self._lay_out)
        self._overhead = self._measure_overhead()
        wanted = self._each(self._wanted_calls)
        self._calls = max(wanted.values())
        self._each(self._warm_up)
        number = 0
        while len(self._alive()) > 1:
            values = [self._values.choose() for _ in range(self._calls)]
            order = list(self._alive())
            self._rng.shuffle(order)
            for name, taken in self._each(partial(self._block, number, values), order).items():
                times[name].append(taken)
            self._settle()
            number += 1
            if enough({name: times[name] for name in self._alive()}, time.monotonic() - begin):
                break
        return {name: tuple(times[name]) for name in self._alive()}

    def _alive(self) -> dict[str, Contestant]:
        return {name: c for name, c in self._all.items() if c.failure is None}

    def _each(self, work: Callable[[str], _T], order: Sequence[str] | None = None) -> dict[str, _T]:
        """What it gave for all that did not fail in it, which ends a contestant's part."""
        done: dict[str, _T] = {}
        for name in self._alive() if order is None else order:
            try:
                done[name] = work(name)
            except FailedError as error:
                if name == REFERENCE:
                    raise
                self._all[name].failure = error.failure
        return done

    def _lay_out(self, name: str) -> None:
        contestant = self._all[name]
        for seat in contestant.seats:
            seat.lay_out(self._case.inputs, self._slots)
            self._values.write(self._values.choose(), seat.inputs(0))
            for _ in range(self._settings.warmup_calls):
                contestant.returned = self._as_expected(seat, seat.call([0])[0])

    def _as_expected(self, seat: Seat, returned: Returned) -> Returned:
        answers = self._case.answers
        wanted = [(tuple(meta["shape"]), meta["dtype"]) for meta in answers.native]
        if [(o.shape, o.dtype) for o in returned.outputs] != wanted or returned.structure != answers.structure:
            raise failed(Status.WRONG_SHAPE, seat.stage, f"{self._case.label}: another shape or structure than before")
        return returned

    def _measure_overhead(self) -> float:
        """Seconds from here to a player and back."""
        seat = self._all[REFERENCE].seats[0]
        found = []
        for _ in range(_OVERHEADS):
            seat.prepare(0, self._outputs, [0])
            found.append(seat.block())
        return min(found)

    def _wanted_calls(self, name: str) -> int:
        """That make a block of this contestant long enough. All get as many as the fastest wants, since the first call of a block
        is slower than the others."""
        seat = self._all[name].seats[0]
        once = math.inf
        for _ in range(_ESTIMATES):
            seat.prepare(1, self._outputs, [0])
            once = min(once, seat.block() - self._overhead)
        return max(1, min(self._slots, round(self._settings.block_seconds / max(once, 1e-7))))

    def _warm_up(self, name: str) -> None:
        """Have memory that inputs and results lie in taken from the system here, not on the clock."""
        for seat in self._all[name].seats:
            for slot in range(seat.warm_slots, self._calls):
                self._values.write(self._values.choose(), seat.inputs(slot))
            for _ in range(_WARM_BLOCKS if seat.warm_slots < self._calls else 0):
                seat.prepare(self._calls, self._outputs, [0], _PADDING_BYTES)
                seat.block()
            seat.warm_slots = max(seat.warm_slots, self._calls)

    def _block(self, number: int, values: Sequence[Values], name: str) -> Taken:
        """One for the round of that number."""
        contestant = self._all[name]
        process = number % len(contestant.seats)
        seat = contestant.seats[process]
        seat.prepare(self._calls, self._outputs, [0], 64 * self._rng.randrange(_PADDING_BYTES // 64))
        for slot, chosen in enumerate(values):
            self._values.write(chosen, seat.inputs(slot))
        call = self._rng.randrange(len(values))
        watch = Watch(seat.inputs(call), self._rng)
        seconds = seat.block()
        if contestant.checked:
            self._claim(name, seat, values, call, watch)
        return Taken(process, max(seconds - self._overhead, 1e-9) / self._calls)

    def _claim(self, name: str, seat: Seat, values: Sequence[Values], call: int, watch: Watch) -> None:
        """Take a piece of the output of one of the calls."""
        returned = self._all[name].returned
        if returned is None:
            raise RuntimeError("a block before the first call")
        output = self._rng.randrange(self._outputs)
        described = returned.outputs[output]
        pointers = seat.pointers(len(values) * self._outputs)
        start = self._rng.randrange(max(1, described.numel - _CHECKED_ELEMENTS + 1))
        stop = min(described.numel, start + _CHECKED_ELEMENTS)
        piece = seat.read_run(described, pointers[call * self._outputs + output], start, stop)
        changed = watch.changed()
        if changed is not None:
            raise failed(
                Status.WRONG_RESULT, seat.stage, f"{self._case.label}: input {changed} was changed in a timed call"
            )
        self._claims.append(_Claim(name, seat.stage, values[call], output, start, piece))

    def _settle(self) -> None:
        """Have the reference compute what candidates claim."""
        seat = self._all[REFERENCE].seats[0]
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
                contestant.failure = Failure(wrong.status, claim.stage, wrong.summary, wrong.details)
