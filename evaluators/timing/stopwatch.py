"""The stopwatch: several implementations, each in a runner of its own, timed in turns on the same fresh values.

A timed block is a number of calls, each on inputs of its own, which are written while the runner stands still: nothing that it
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

from evaluators.correctness.checker import SLOTS_TOGETHER
from evaluators.correctness.compare import Bounds, compare
from evaluators.correctness.reference.data import Case, Reference
from evaluators.runtime.base import BlockResult, Returned, Runner, Runtime, TimedBlock
from evaluators.runtime.layout import TABLE_BYTES, layout_of
from evaluators.runtime.tensors import comparable
from evaluators.settings import EvaluationSettings, TimingSettings
from evaluators.timing.blocks import BlockTime, Times
from evaluators.timing.calibration import Calibration, Calibrations
from evaluators.timing.fresh_inputs import FreshValues, changed
from evaluators.timing.pacing import Pacing
from evaluators.verdict import FailedError, Failure, failed
from kernelevolve.core.evaluation import Status

_T = TypeVar("_T")
Enough = Callable[[Times, float], bool]
"""(blocks so far, seconds so far) -> whether to stop."""

_CHECKED_ELEMENTS = 1 << 16
"""Elements of an output, anywhere in it, that are looked at after a block."""
_WARM_BLOCKS = 2
_LENGTHENED = 2
"""How often blocks are made longer, where those before tell that they are too short by more than `_LONG_ENOUGH`."""
_LONG_ENOUGH = 1.25
_PADDING_BYTES = 1 << 18
"""Most that is allocated before a block, so that results lie elsewhere in each."""
_SETTLED_SHARE = 0.25
"""The share of `max_seconds` that making ready may take of them: where others use the hardware it takes longer."""
_OVERHEADS = 5
_RELAXED = 2.0
REFERENCE = "eager"


@dataclass
class Entrant:
    """One of those that are timed, in one runner or in several alike."""

    runners: Sequence[Runner]
    checked: bool
    """Whether its outputs are held against the reference's."""
    failure: Failure | None = field(default=None, init=False)

    def runner(self, number: int) -> Runner:
        """The runner of the round of that number."""
        return self.runners[number % len(self.runners)]


@dataclass(frozen=True)
class _Piece:
    """Elements [start, stop) of an output of a call of a block."""

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


def input_bytes(reference: Reference, settings: EvaluationSettings) -> int:
    """Memory for inputs that any layout of this reference's cases needs, when they are checked or timed."""
    most = TABLE_BYTES
    for case in reference.cases:
        slots = max(
            SLOTS_TOGETHER + (case.effects is not None),
            *(slots_for(case, timing) for timing in (settings.timing, settings.final)),
        )
        most = max(most, layout_of(case.inputs, slots, case.nesting).total_bytes)
    return most


class Stopwatch:
    """Times one case. What it is given must have been built; the device lock must be held."""

    def __init__(
        self,
        runtime: Runtime,
        reference: Sequence[Runner],
        others: Mapping[str, Entrant],
        case: Case,
        values: FreshValues,
        bounds: Sequence[Bounds],
        settings: TimingSettings,
        seed: int,
        calibrations: Calibrations,
        after: Sequence[Bounds] = (),
    ) -> None:
        """
        Args:
            runtime: The runtime of all runners.
            reference: Runners that hold the reference.
            others: The other entrants by name.
            case: The inputs, and the reference outputs.
            values: Fresh values for the inputs of the case.
            bounds: How far each output may be off.
            settings: How long to measure.
            seed: The seed of what nobody must foresee.
            calibrations: What is known of the runners.
            after: How far each input that the reference changes in place may be off.
        """
        self._runtime = runtime
        self._rng = random.Random(seed)
        self._numbers = np.random.default_rng(seed)
        self._settings = settings
        self._bounds = bounds
        self._after = dict(zip(case.effects.positions, after, strict=True)) if case.effects else {}
        self._values = values
        self._slots = slots_for(case, settings)
        self._case = case
        self._stage = runtime.stage(layout_of(case.inputs, self._slots, case.nesting))
        self._outputs = len(case.answers.forms)
        self._all: dict[str, Entrant] = {REFERENCE: Entrant(reference, checked=False), **others}
        self._calibrations = calibrations
        self._overhead = 0.0
        self._pacing = Pacing(settings, self._slots)

    @property
    def failures(self) -> dict[str, Failure]:
        """The verdicts on those that failed."""
        return {name: entrant.failure for name, entrant in self._all.items() if entrant.failure is not None}

    def run(self, enough: Enough) -> dict[str, tuple[BlockTime, ...]]:
        """Blocks of all that did not fail, until it is `enough`. Raises FailedError where the reference fails."""
        begin = time.monotonic()
        times: dict[str, list[BlockTime]] = {name: [] for name in self._all}
        self._each(self._lay_out)
        self._overhead = self._measure_overhead()
        self._settle()
        begin = max(begin, time.monotonic() - _SETTLED_SHARE * self._settings.max_seconds)
        number = 0
        while len(self._alive()) > 1:
            measured, waited = self._round(number)
            self._verify(number)
            number += 1
            for name, block in measured.items():
                times[name].append(block)
            if enough({name: times[name] for name in self._alive()}, time.monotonic() - begin):
                break
            noise = [block.noise for block in measured.values()]
            if self._pacing.saw(noise, waited, [min(b.seconds for b in blocks) for blocks in times.values() if blocks]):
                # Blocks of another length are not like those to come.
                times, begin = {name: [] for name in self._all}, time.monotonic()
        return {name: tuple(times[name]) for name in self._alive()}

    def _alive(self) -> dict[str, Entrant]:
        return {name: entrant for name, entrant in self._all.items() if entrant.failure is None}

    @property
    def _calls(self) -> int:
        """Calls of a block."""
        return self._pacing.calls

    def _each(self, work: Callable[[str], _T], order: Sequence[str] | None = None) -> dict[str, _T]:
        """What `work` gave for all that did not fail in it, which ends an entrant's part."""
        done: dict[str, _T] = {}
        for name in self._alive() if order is None else order:
            try:
                done[name] = work(name)
            except FailedError as error:
                if name == REFERENCE:
                    raise
                self._all[name].failure = error.failure
        return done

    def _known(self, runner: Runner) -> Calibration:
        return self._calibrations.of(runner)

    def _lay_out(self, name: str) -> None:
        for runner in self._all[name].runners:
            runner.lay_out(self._case.inputs, self._slots, self._case.nesting)
            known = self._known(runner)
            if known.returned is None:
                self._write(runner, 0)
                for _ in range(self._settings.warmup_calls):
                    known.returned = self._as_expected(runner, runner.call([0])[0])

    def _write(self, runner: Runner, slot: int, count: int = 1) -> None:
        """Fresh values into so many slots from that one on."""
        self._values.write(self._values.choose(self._numbers, count), runner.slots, slot)

    def _as_expected(self, runner: Runner, returned: Returned) -> Returned:
        answers = self._case.answers
        if (
            tuple((o.dtype, o.shape) for o in returned.outputs) != answers.forms
            or returned.structure != answers.structure
        ):
            raise failed(
                Status.WRONG_SHAPE, runner.stage, f"{self._case.label}: another shape or structure than before"
            )
        return returned

    def _measure_overhead(self) -> float:
        """Seconds from here to a runner and back."""
        runner = self._all[REFERENCE].runners[0]
        known = self._calibrations.overhead(runner)
        if known is None:
            known = min(self._runtime.run_one(TimedBlock(runner, 0, self._outputs)) for _ in range(_OVERHEADS))
            self._calibrations.set_overhead(runner, known)
        return known

    def _settle(self) -> None:
        """Find how many calls make the shortest block long enough; all get as many, since the first of a block is slower than the others.

        A single call after a pause takes many times as long as it does among others: blocks tell, and are made longer until they do.
        """
        pacing = self._pacing
        pacing.calls = pacing.wanted_calls(self._call_times())
        for _ in range(_LENGTHENED):
            self._each(lambda name: self._warm_up(self._all[name].runners[:1]))
            wanted = pacing.wanted_calls(self._call_times())
            if wanted <= _LONG_ENOUGH * pacing.calls:
                break
            pacing.calls = wanted
        self._each(lambda name: self._warm_up(self._all[name].runners))

    def _call_times(self) -> list[float]:
        """Seconds of a call, of all that did not fail."""
        return list(self._each(self._call).values())

    def _call(self, name: str) -> float:
        """Seconds of a call of this entrant, by the fastest of the blocks of its first runner so far."""
        runner = self._all[name].runners[0]
        known = self._known(runner)
        if known.call_seconds is None:
            seconds = self._runtime.run_one(TimedBlock(runner, 1, self._outputs, warm=True))
            known.call_seconds = self._per_call(seconds, 1)
        return known.call_seconds

    def _per_call(self, seconds: float, calls: int) -> float:
        """Seconds of a call of a block that took so long."""
        return max(seconds - self._overhead, 1e-7) / calls

    def _warm_up(self, runners: Sequence[Runner]) -> None:
        """Have memory that inputs and results lie in taken from the system here, not on the clock."""
        for runner in runners:
            known = self._known(runner)
            if known.warm_slots >= self._calls:
                continue
            self._write(runner, known.warm_slots, self._calls - known.warm_slots)
            for _ in range(_WARM_BLOCKS):
                block = TimedBlock(runner, self._calls, self._outputs, warm=True, padding=_PADDING_BYTES, touch=True)
                seconds = self._per_call(self._runtime.run_one(block), self._calls)
                known.call_seconds = min(seconds, known.call_seconds or seconds)
            known.warm_slots = self._calls

    def _round(self, number: int) -> tuple[dict[str, BlockTime], list[bool | None]]:
        """(a block of each, in an order by chance, on the same values; whether others paused before each, where that was waited for)"""
        values = self._values.choose(self._numbers, self._calls)
        self._values.write(values, self._stage)
        order = list(self._alive())
        self._rng.shuffle(order)
        runners = {name: self._all[name].runner(number) for name in order}
        blocks = [
            TimedBlock(
                runner,
                self._calls,
                self._outputs,
                warm=True,
                padding=64 * self._rng.randrange(_PADDING_BYTES // 64),
                staged=self._calls,
                patience=self._pacing.patience(),
            )
            for runner in runners.values()
        ]
        results: dict[str, BlockResult] = dict(zip(order, self._runtime.run(blocks), strict=True))

        def measured(name: str) -> BlockTime:
            entrant, result = self._all[name], results[name].checked()
            if entrant.checked:
                self._check_inputs(runners[name], runners[REFERENCE])
            seconds = self._per_call(result.seconds, self._calls)
            return BlockTime(number % len(entrant.runners), seconds, result.noise, result.lost_seconds / self._calls)

        return self._each(measured, order), [result.waited_well for result in results.values()]

    def _check_inputs(self, runner: Runner, reference: Runner) -> None:
        """Those of a call must be as they were; what the reference changes in place, as it has left it."""
        call = self._rng.randrange(self._calls)
        now = runner.inputs(call)
        found = changed(now, self._stage.inputs(call), self._rng, self._after)
        if found is not None:
            raise failed(
                Status.WRONG_RESULT, runner.stage, f"{self._case.label}: input {found} was changed in a timed call"
            )
        for i, bounds in self._after.items():
            got, want = (comparable(each).reshape(-1) for each in (now[i], reference.inputs(call)[i]))
            start = self._rng.randrange(max(1, want.numel() - _CHECKED_ELEMENTS + 1))
            part = slice(start, start + _CHECKED_ELEMENTS)
            label = f"{self._case.label}, input {i} after a timed call"
            wrong = compare(got[part], want[part], want[part], bounds.relaxed(_RELAXED), label)
            if wrong is not None:
                raise failed(wrong.status, runner.stage, wrong.summary, wrong.details)

    def _verify(self, number: int) -> None:
        """Hold a piece of what every kernel has left behind in a round against the same piece of the reference's."""
        pieces = {name: self._choose() for name, entrant in self._alive().items() if entrant.checked}
        expected = {name: self._read(self._all[REFERENCE].runner(number), piece) for name, piece in pieces.items()}

        def verify(name: str) -> None:
            runner, piece = self._all[name].runner(number), pieces[name]
            label, bounds = f"{self._case.label}, a timed call", self._bounds[piece.output].relaxed(_RELAXED)
            wrong = compare(self._read(runner, piece), expected[name], expected[name], bounds, label)
            if wrong is not None:
                raise failed(wrong.status, runner.stage, wrong.summary, wrong.details)

        self._each(verify, list(pieces))

    def _choose(self) -> _Piece:
        output = self._rng.randrange(self._outputs)
        size = math.prod(self._case.answers.native[output]["shape"])
        start = self._rng.randrange(max(1, size - _CHECKED_ELEMENTS + 1))
        return _Piece(self._rng.randrange(self._calls), output, start, min(size, start + _CHECKED_ELEMENTS))

    def _read(self, runner: Runner, piece: _Piece) -> torch.Tensor:
        returned = self._known(runner).returned
        if returned is None:
            raise RuntimeError("a block before the first call")
        address = runner.addresses(self._calls * self._outputs)[piece.call * self._outputs + piece.output]
        return runner.read_run(returned.outputs[piece.output], address, piece.start, piece.stop)
