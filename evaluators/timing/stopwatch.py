"""The stopwatch: several implementations, each in a process of its own, timed in turns on the same fresh values.

A timed block is a number of calls, each on inputs of its own, which are written while the player stands still: nothing that it
computed or stored before fits them. It returns all of their outputs, which lie in its memory when the clock, in another process,
stops; one, chosen afterwards, is read from there and held against what the reference's block of the same round, on the same
values, left in its own. While one runs the others are stopped.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import torch

from evaluators.correctness.compare import Bounds, compare
from evaluators.correctness.reference.data import Case
from evaluators.runtime.cpu.arena import Slots
from evaluators.runtime.cpu.runner import Returned, Seat
from evaluators.runtime.layout import TABLE_BYTES, layout_of
from evaluators.runtime.tensors import comparable
from evaluators.settings import TimingSettings
from evaluators.timing.blocks import Taken, Times
from evaluators.timing.fresh_inputs import FreshValues, changed
from evaluators.timing.pacing import Pacing
from evaluators.verdict import FailedError, Failure, failed
from kernelevolve.core.evaluation import Status

_T = TypeVar("_T")
Enough = Callable[[Times, float], bool]
"""(blocks so far, seconds so far) -> whether to stop."""

_CHECKED_ELEMENTS = 1 << 16
"""Of an output, anywhere in it, that are looked at after a block."""
_WARM_BLOCKS = 2
_LENGTHENED = 2
"""Times that blocks are made longer, where those before tell that they are too short:"""
_LONG_ENOUGH = 1.25
"""by more than that."""
_PADDING_BYTES = 1 << 18
"""Most that is allocated before a block, so that results lie elsewhere in each."""
_SETTLED_SHARE = 0.25
"""Of `max_seconds`, that making ready may take of them: where others use the cores it takes longer."""
_OVERHEADS = 5
_RELAXED = 2.0
REFERENCE = "eager"


@dataclass
class Contestant:
    """One of those that are timed, in one process or in several alike."""

    seats: Sequence[Seat]
    checked: bool
    """Whether its outputs are held against the reference's."""
    failure: Failure | None = field(default=None, init=False)

    def seat(self, number: int) -> Seat:
        """That runs the block of the round of that number."""
        return self.seats[number % len(self.seats)]


@dataclass(frozen=True)
class _Piece:
    """Of what a block left behind: elements [start, stop) of an output of a call."""

    call: int
    output: int
    start: int
    stop: int


def slots_for(case: Case, settings: TimingSettings) -> int:
    """Calls that a block of this case may have: as many as their inputs, and their outputs, leave room for."""
    room = settings.block_mb << 20
    inputs = layout_of(case.inputs).slot_bytes
    outputs = sum(
        (case.answers.folder / f"{case.answers.prefix}native{i}").stat().st_size
        for i in range(len(case.answers.native))
    )
    table = TABLE_BYTES // 8 // max(1, len(case.answers.forms))
    return max(1, min(settings.most_calls, room // inputs, room // max(1, outputs), table))


class Stopwatch:
    """Times one case. What it is given must have been built; the gate must be held."""

    def __init__(
        self,
        reference: Sequence[Seat],
        others: Mapping[str, Contestant],
        case: Case,
        values: FreshValues,
        bounds: Sequence[Bounds],
        settings: TimingSettings,
        seed: int,
        after: Sequence[Bounds] = (),
    ) -> None:
        """`values`, `bounds`: of the case's inputs and outputs. `seed`: of what nobody must foresee. `after`: of the inputs that the
        reference changes in place."""
        self._rng = random.Random(seed)
        self._numbers = np.random.default_rng(seed)
        self._settings = settings
        self._bounds = bounds
        self._after = dict(zip(case.effects.positions, after, strict=True)) if case.effects else {}
        self._values = values
        self._slots = slots_for(case, settings)
        self._case = case
        layout = layout_of(case.inputs, self._slots, case.nesting)
        self._server = reference[0].player.server
        self._stage = Slots(self._server.stage(layout.total_bytes).memory, layout)
        self._outputs = len(case.answers.forms)
        self._all: dict[str, Contestant] = {REFERENCE: Contestant(reference, checked=False), **others}
        self._overhead = 0.0
        self._pacing = Pacing(settings, self._slots)

    @property
    def failures(self) -> dict[str, Failure]:
        return {name: c.failure for name, c in self._all.items() if c.failure is not None}

    def run(self, enough: Enough) -> dict[str, tuple[Taken, ...]]:
        """Blocks of all that did not fail, until it is `enough`. Raises FailedError where the reference fails."""
        begin = time.monotonic()
        times: dict[str, list[Taken]] = {name: [] for name in self._all}
        self._each(self._lay_out)
        self._overhead = self._measure_overhead()
        self._settle()
        begin = max(begin, time.monotonic() - _SETTLED_SHARE * self._settings.max_seconds)
        number = 0
        while len(self._alive()) > 1:
            taken, idle = self._round(number)
            self._verify(number)
            number += 1
            for name, block in taken.items():
                times[name].append(block)
            if enough({name: times[name] for name in self._alive()}, time.monotonic() - begin):
                break
            grades = [block.grade for block in taken.values()]
            if self._pacing.saw(grades, idle, [min(b.seconds for b in blocks) for blocks in times.values() if blocks]):
                # Blocks of another length are not like those to come.
                times, begin = {name: [] for name in self._all}, time.monotonic()
        return {name: tuple(times[name]) for name in self._alive()}

    def _alive(self) -> dict[str, Contestant]:
        return {name: c for name, c in self._all.items() if c.failure is None}

    @property
    def _calls(self) -> int:
        """Of a block."""
        return self._pacing.calls

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
        for seat in self._all[name].seats:
            seat.lay_out(self._case.inputs, self._slots, self._case.nesting)
            if seat.returned is None:
                self._write(seat, 0)
                for _ in range(self._settings.warmup_calls):
                    seat.returned = self._as_expected(seat, seat.call([0])[0])

    def _write(self, seat: Seat, slot: int, count: int = 1) -> None:
        """So many slots from that on."""
        self._values.write(self._values.choose(self._numbers, count), seat.laid_out, slot)

    def _as_expected(self, seat: Seat, returned: Returned) -> Returned:
        answers = self._case.answers
        if (
            tuple((o.dtype, o.shape) for o in returned.outputs) != answers.forms
            or returned.structure != answers.structure
        ):
            raise failed(Status.WRONG_SHAPE, seat.stage, f"{self._case.label}: another shape or structure than before")
        return returned

    def _measure_overhead(self) -> float:
        """Seconds from here to a player and back."""
        seat = self._all[REFERENCE].seats[0]
        if seat.overhead_seconds is None:
            found = []
            for _ in range(_OVERHEADS):
                found.append(seat.block(0, self._outputs))
            seat.overhead_seconds = min(found)
        return seat.overhead_seconds

    def _settle(self) -> None:
        """Find how many calls make the shortest block long enough; all get as many, since the first of a block is slower than the others.

        A single call after a pause takes many times as long as it does among others: blocks tell, and are made longer until they do.
        """
        pacing = self._pacing
        pacing.calls = pacing.wanted_calls(self._call_times())
        for _ in range(_LENGTHENED):
            self._each(lambda name: self._warm_up(self._all[name].seats[:1]))
            wanted = pacing.wanted_calls(self._call_times())
            if wanted <= _LONG_ENOUGH * pacing.calls:
                break
            pacing.calls = wanted
        self._each(lambda name: self._warm_up(self._all[name].seats))

    def _call_times(self) -> list[float]:
        """Seconds of a call, of all that did not fail."""
        return list(self._each(self._call).values())

    def _call(self, name: str) -> float:
        """Seconds of a call of this contestant, by the fastest of the blocks of its first process so far."""
        seat = self._all[name].seats[0]
        if seat.call_seconds is None:
            seat.call_seconds = self._call_seconds(seat.block(1, self._outputs, warm=True), 1)
        return seat.call_seconds

    def _call_seconds(self, seconds: float, calls: int) -> float:
        """Of a block that took so long."""
        return max(seconds - self._overhead, 1e-7) / calls

    def _warm_up(self, seats: Sequence[Seat]) -> None:
        """Have memory that inputs and results lie in taken from the system here, not on the clock."""
        for seat in seats:
            if seat.warm_slots >= self._calls:
                continue
            self._write(seat, seat.warm_slots, self._calls - seat.warm_slots)
            for _ in range(_WARM_BLOCKS):
                block = seat.block(self._calls, self._outputs, warm=True, padding=_PADDING_BYTES, touch=True)
                seconds = self._call_seconds(block, self._calls)
                seat.call_seconds = min(seconds, seat.call_seconds or seconds)
            seat.warm_slots = self._calls

    def _round(self, number: int) -> tuple[dict[str, Taken], list[bool | None]]:
        """(a block of each, in an order by chance, on the same values; whether the machine was found idle before each, if waited for)"""
        values = self._values.choose(self._numbers, self._calls)
        self._values.write(values, self._stage)
        order = list(self._alive())
        self._rng.shuffle(order)
        seats = {name: self._all[name].seat(number) for name in order}
        turns = [
            seat.turn(
                self._calls,
                self._outputs,
                warm=True,
                padding=64 * self._rng.randrange(_PADDING_BYTES // 64),
                staged=self._calls,
                patience=self._pacing.patience(),
            )
            for seat in seats.values()
        ]
        played = dict(zip(order, zip(turns, self._server.play(turns), strict=True), strict=True))

        def taken(name: str) -> Taken:
            contestant, seat = self._all[name], seats[name]
            turn, came = played[name]
            seconds = self._call_seconds(seat.played(turn, came), self._calls)
            if contestant.checked:
                self._check_inputs(seat, seats[REFERENCE])
            return Taken(number % len(contestant.seats), seconds, came.grade, came.lost / self._calls)

        return self._each(taken, order), [came.idle for _, came in played.values()]

    def _check_inputs(self, seat: Seat, reference: Seat) -> None:
        """Those of a call must be as they were; what the reference changes in place, as it has left it."""
        call = self._rng.randrange(self._calls)
        now = seat.inputs(call)
        found = changed(now, self._stage.inputs(call), self._rng, self._after)
        if found is not None:
            raise failed(
                Status.WRONG_RESULT, seat.stage, f"{self._case.label}: input {found} was changed in a timed call"
            )
        for i, bounds in self._after.items():
            got, want = (comparable(each).reshape(-1) for each in (now[i], reference.inputs(call)[i]))
            start = self._rng.randrange(max(1, want.numel() - _CHECKED_ELEMENTS + 1))
            part = slice(start, start + _CHECKED_ELEMENTS)
            label = f"{self._case.label}, input {i} after a timed call"
            wrong = compare(got[part], want[part], want[part], bounds.relaxed(_RELAXED), label)
            if wrong is not None:
                raise failed(wrong.status, seat.stage, wrong.summary, wrong.details)

    def _verify(self, number: int) -> None:
        """Hold a piece of what every candidate has left behind in a round against the same piece of the reference's."""
        pieces = {name: self._choose() for name, c in self._alive().items() if c.checked}
        expected = {name: self._read(self._all[REFERENCE].seat(number), piece) for name, piece in pieces.items()}

        def verify(name: str) -> None:
            seat, piece = self._all[name].seat(number), pieces[name]
            label, bounds = f"{self._case.label}, a timed call", self._bounds[piece.output].relaxed(_RELAXED)
            wrong = compare(self._read(seat, piece), expected[name], expected[name], bounds, label)
            if wrong is not None:
                raise failed(wrong.status, seat.stage, wrong.summary, wrong.details)

        self._each(verify, list(pieces))

    def _choose(self) -> _Piece:
        output = self._rng.randrange(self._outputs)
        size = math.prod(self._case.answers.native[output]["shape"])
        start = self._rng.randrange(max(1, size - _CHECKED_ELEMENTS + 1))
        return _Piece(self._rng.randrange(self._calls), output, start, min(size, start + _CHECKED_ELEMENTS))

    def _read(self, seat: Seat, piece: _Piece) -> torch.Tensor:
        if seat.returned is None:
            raise RuntimeError("a block before the first call")
        pointers = seat.pointers(self._calls * self._outputs)
        address = pointers[piece.call * self._outputs + piece.output]
        return seat.read_run(seat.returned.outputs[piece.output], address, piece.start, piece.stop)
