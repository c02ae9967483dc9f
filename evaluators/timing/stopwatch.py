"""The stopwatch: it times several implementations, each in a runner of its own, in alternation and on the same fresh values.

A timed block is a number of calls, each on inputs of its own. The inputs are written while the runner is stopped, so results that it
computed or stored before are wrong. All outputs are in the runner's memory when the clock, in another process, stops. One output, chosen
afterwards, is read from there and compared with that of the reference's block of the same round, on the same values. While one runner
runs the others are stopped.
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

from evaluators.correctness.bounds import Bounds
from evaluators.correctness.checker import SLOTS_TOGETHER
from evaluators.correctness.compare import compare
from evaluators.correctness.reference.data import Case, Reference
from evaluators.runtime.base import BlockResult, Noise, Returned, Runner, Runtime, TimedBlock
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
StoppingRule = Callable[[Times, float], bool]
"""A rule that ends a measurement: (blocks so far, seconds so far) -> whether to stop."""

_CHECKED_ELEMENTS = 1 << 16
"""The number of consecutive elements of an output that are checked after a block, at a random position."""
_WARM_BLOCKS = 2
"""The number of untimed blocks of each runner."""
_LENGTHENED = 2
"""How many times the number of calls may be raised before the measurement."""
_LONG_ENOUGH = 1.25
"""The factor by which blocks may be too short without raising the number of calls."""
_PADDING_BYTES = 1 << 18
"""The most bytes that are allocated before a block, so that results lie elsewhere in each block."""
_SETTLED_SHARE = 0.25
"""The largest share of `max_seconds` that the preparation may use up. On a busy machine it takes longer."""
_OVERHEADS = 8
"""The number of further empty blocks by which the overhead of a block is measured."""
_BRIEF_SECONDS = 0.005
"""The seconds of a call above which the overhead is measured without calls. It hardly matters there."""
_RELAXED = 2.0
"""The factor by which the bounds of outputs are relaxed for timed calls."""
REFERENCE = "eager"
"""The name of the reference among the entrants."""


@dataclass
class Entrant:
    """An implementation that is timed, in one runner or several."""

    runners: Sequence[Runner]
    """The runners that hold the implementation."""
    checked: bool
    """Whether its outputs are compared with the reference's."""
    failure: Failure | None = field(default=None, init=False)
    """The failure that ended its participation, or None."""

    def runner(self, number: int) -> Runner:
        """Return the runner for a round."""
        return self.runners[number % len(self.runners)]


@dataclass(frozen=True)
class _Piece:
    """The elements [start, stop) of one output of one call in a block."""

    call: int
    output: int
    start: int
    stop: int


def slots_for(case: Case, settings: TimingSettings) -> int:
    """Return the largest number of calls in a block of a case, for which its inputs and its outputs have room."""
    room = settings.block_mb << 20
    inputs = layout_of(case.inputs).slot_bytes
    outputs = sum(
        (case.expected.folder / f"{case.expected.prefix}native{i}").stat().st_size
        for i in range(len(case.expected.native))
    )
    table = TABLE_BYTES // 8 // max(1, len(case.expected.forms))
    return max(1, min(settings.max_calls, room // inputs, room // max(1, outputs), table))


def input_bytes(reference: Reference, settings: EvaluationSettings) -> int:
    """Return the bytes of memory for inputs that checking and timing any case of this reference needs at most."""
    most = TABLE_BYTES
    for case in reference.cases:
        slots = max(
            SLOTS_TOGETHER + (case.effects is not None),
            *(slots_for(case, timing) for timing in (settings.timing, settings.final)),
        )
        most = max(most, layout_of(case.inputs, slots, case.nesting).total_bytes)
    return most


class Stopwatch:
    """Times one case. The models of all runners must have been built, and the caller must hold the device lock."""

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
        """Prepare to time one case.

        Args:
            runtime: The runtime of all runners.
            reference: The runners that hold the reference.
            others: The other entrants by name.
            case: The inputs and the reference outputs.
            values: Fresh values for the inputs of the case.
            bounds: The bounds of the error of each output.
            settings: How long to measure.
            seed: The seed of random choices that kernels must not foresee.
            calibrations: The calibrations of the runners.
            after: The bounds of the error of each input that the reference changes in place.
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
        self._outputs = len(case.expected.forms)
        self._all: dict[str, Entrant] = {REFERENCE: Entrant(reference, checked=False), **others}
        self._calibrations = calibrations
        self._overhead = 0.0
        self._warm_noise: list[Noise] = []
        """The noise of the latest untimed blocks, which shows before the first round whether the machine is busy."""
        self._pacing = Pacing(settings, self._slots)

    @property
    def failures(self) -> dict[str, Failure]:
        """The failures of the entrants that failed, by name."""
        return {name: entrant.failure for name, entrant in self._all.items() if entrant.failure is not None}

    def run(self, enough: StoppingRule) -> dict[str, tuple[BlockTime, ...]]:
        """Time blocks until `enough` says to stop.

        Returns:
            The blocks of each entrant that did not fail, by name.

        Raises:
            FailedError: The reference failed.
        """
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
            if self._pacing.learn(
                noise, waited, [min(b.seconds for b in blocks) for blocks in times.values() if blocks]
            ):
                # Blocks of another length are not comparable with later ones.
                times, begin = {name: [] for name in self._all}, time.monotonic()
        return {name: tuple(times[name]) for name in self._alive()}

    def _alive(self) -> dict[str, Entrant]:
        return {name: entrant for name, entrant in self._all.items() if entrant.failure is None}

    @property
    def _calls(self) -> int:
        """The number of calls in a block."""
        return self._pacing.calls

    def _each(self, work: Callable[[str], _T], order: Sequence[str] | None = None) -> dict[str, _T]:
        """Call `work` for each entrant and return the results of those that did not fail. A failure ends an entrant's participation."""
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
        """Write fresh values into `count` slots from `slot` on."""
        self._values.write(self._values.choose(self._numbers, count), runner.slots, slot)

    def _as_expected(self, runner: Runner, returned: Returned) -> Returned:
        expected = self._case.expected
        if tuple((o.dtype, o.shape) for o in returned.outputs) != expected.forms or not returned.has(
            expected.structure
        ):
            raise failed(
                Status.WRONG_SHAPE, runner.stage, f"{self._case.label}: another shape or structure than before"
            )
        return returned

    def _measure_overhead(self) -> float:
        """Return the seconds that a block without calls takes, like the blocks of rounds after a call whose time does not count.

        Other programs make it longer, never shorter, so the mean of the lower half is taken.
        """
        runner = self._all[REFERENCE].runners[0]
        known = self._calibrations.overhead(runner)
        if known is None:
            begin = time.monotonic()
            blocks = [self._runtime.run_one(TimedBlock(runner, 0, self._outputs, warm=True))]
            warm = time.monotonic() - begin < _BRIEF_SECONDS
            for _ in range(_OVERHEADS):
                blocks.append(self._runtime.run_one(TimedBlock(runner, 0, self._outputs, warm=warm)))
            lower = sorted(blocks)[: (len(blocks) + 1) // 2]
            known = sum(lower) / len(lower)
            self._calibrations.set_overhead(runner, known)
        return known

    def _settle(self) -> None:
        """Find the number of calls with which the shortest block is long enough, and warm up all runners.

        All entrants get the same number, since the first call of a block is slower than the others. A single call after a pause takes many
        times as long as one in a block, so the number is estimated from blocks and raised until they are long enough.
        """
        pacing = self._pacing
        pacing.calls = pacing.wanted_calls(self._call_times())
        for _ in range(_LENGTHENED):
            self._each(lambda name: self._warm_up(self._all[name].runners[:1]))
            wanted = pacing.wanted_calls(self._call_times())
            if wanted <= _LONG_ENOUGH * pacing.calls:
                break
            pacing.calls = wanted
        longest = max((len(entrant.runners) for entrant in self._alive().values()), default=0)
        for number in range(longest):
            self._warm_up_each(number)
            pacing.look_ahead(self._warm_noise, self._call_times())
            self._warm_noise.clear()

    def _warm_up_each(self, number: int) -> None:
        """Warm up one runner of each entrant."""
        self._each(lambda name: self._warm_up(self._all[name].runners[number : number + 1]))

    def _call_times(self) -> list[float]:
        """Return the seconds per call of each entrant that did not fail."""
        return list(self._each(self._call).values())

    def _call(self, name: str) -> float:
        """Return the seconds per call of an entrant, by the fastest block of its first runner so far."""
        runner = self._all[name].runners[0]
        known = self._known(runner)
        if known.call_seconds is None:
            seconds = self._runtime.run_one(TimedBlock(runner, 1, self._outputs, warm=True))
            known.call_seconds = self._per_call(seconds, 1)
        return known.call_seconds

    def _per_call(self, seconds: float, calls: int) -> float:
        """Return the seconds per call of a block that took `seconds`."""
        return max(seconds - self._overhead, 1e-7) / calls

    def _warm_up(self, runners: Sequence[Runner]) -> None:
        """Run untimed blocks, so that the memory of inputs and results is allocated before the measurement."""
        for runner in runners:
            known = self._known(runner)
            if known.warm_slots >= self._calls:
                continue
            self._write(runner, known.warm_slots, self._calls - known.warm_slots)
            for _ in range(_WARM_BLOCKS):
                block = TimedBlock(runner, self._calls, self._outputs, warm=True, padding=_PADDING_BYTES, touch=True)
                [result] = self._runtime.run([block])
                self._warm_noise.append(result.checked().noise)
                seconds = self._per_call(result.seconds, self._calls)
                known.call_seconds = min(seconds, known.call_seconds or seconds)
            known.warm_slots = self._calls

    def _round(self, number: int) -> tuple[dict[str, BlockTime], list[bool | None]]:
        """Time one block of each entrant, in random order and on the same values.

        Returns:
            The block of each entrant, and for each whether other programs paused before it, or None if it did not wait for that.
        """
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
            lost, error = result.lost_seconds / self._calls, self._runtime.start_error / self._calls
            return BlockTime(number % len(entrant.runners), seconds, result.noise, lost, error)

        return self._each(measured, order), [result.waited_well for result in results.values()]

    def _check_inputs(self, runner: Runner, reference: Runner) -> None:
        """Raise FailedError if a random call changed its inputs, except as the reference changes them in place."""
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
        """Compare a random piece of each kernel's outputs in a round with the same piece of the reference's outputs."""
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
        size = math.prod(self._case.expected.native[output]["shape"])
        start = self._rng.randrange(max(1, size - _CHECKED_ELEMENTS + 1))
        return _Piece(self._rng.randrange(self._calls), output, start, min(size, start + _CHECKED_ELEMENTS))

    def _read(self, runner: Runner, piece: _Piece) -> torch.Tensor:
        returned = self._known(runner).returned
        if returned is None:
            raise RuntimeError("a block before the first call")
        address = runner.addresses(self._calls * self._outputs)[piece.call * self._outputs + piece.output]
        return runner.read_run(returned.outputs[piece.output], address, piece.start, piece.stop)
