"""Blocks that other processes had a part of are told from others, and say nothing of a kernel."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace

import pytest

from devices.cpu import CpuDevice
from evaluators.runtime.base import BlockResult, Noise, Runtime, TimedBlock
from evaluators.runtime.cpu.noise import Moment, await_idle, has_other_threads, lost, moment, others_running
from evaluators.runtime.cpu.runner_process import noise_of
from evaluators.runtime.cpu.runtime import CpuRuntime
from evaluators.service.pipeline import Pipeline
from evaluators.settings import EvaluationSettings
from evaluators.timing.blocks import BlockTime
from evaluators.timing.statistics import drop_imprecise_speedup, measurement, ratio_of
from kernelevolve.core.evaluation import Measurement, Ratio
from tests.evaluators.silu_mul import TASK, python_kernel

pytestmark = pytest.mark.alone

SPIN = "import time\nend = time.monotonic() + 20\nwhile time.monotonic() < end: pass"


def burn(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def taken_from_me(work: float) -> float:
    """Seconds that this thread lost to others on its core, while it computed for so long."""
    me, thread = os.getpid(), threading.get_native_id()
    before = moment(me, [thread])
    burn(work)
    return lost(before, moment(me, [thread]), 1, 0) / 1e9


def test_a_core_that_is_shared_shows_in_the_time_that_was_lost() -> None:
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(threading.get_native_id(), {min(cores)})
    other = subprocess.Popen([sys.executable, "-c", SPIN])  # Inherits the core.
    try:
        time.sleep(0.3)
        shared = taken_from_me(0.4)
    finally:
        other.kill()
        other.wait()
        os.sched_setaffinity(threading.get_native_id(), cores)
    assert shared > 0.1
    assert noise_of(0.4, shared, 0) is Noise.NOISY


def test_threads_of_its_own_take_nothing_from_a_process() -> None:
    before = Moment(clock=0, ran=0, waited={1: 0})
    crowded = Moment(clock=1000, ran=1990, waited={1: 500})
    assert lost(before, crowded, 2, 0) == 10
    shared = Moment(clock=1000, ran=1200, waited={1: 500, 2: 10_000})
    assert lost(before, shared, 2, 0) == 500, "a thread that began in between has waited since nobody knows when"


def test_a_process_that_is_gone_lost_nothing() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    gone = moment(process.pid, [process.pid])
    assert lost(gone, gone, 2, None) == 0


@pytest.mark.parametrize(
    ("lost_seconds", "others", "noise"),
    [
        (0.0, 0, Noise.QUIET),
        (1e-5, 0, Noise.QUIET),
        (0.0, 1, Noise.SHARED),
        (0.0, None, Noise.SHARED),
        (1e-4, 0, Noise.QUIET),
        (3e-4, 0, Noise.NOISY),
        (1e-4, None, Noise.NOISY),
        (1e-4, 2, Noise.NOISY),
    ],
)
def test_a_block_is_graded_by_its_waiting_and_by_its_company(
    lost_seconds: float, others: int | None, noise: Noise
) -> None:
    assert noise_of(1e-3, lost_seconds, others) is noise
    assert noise_of(100 * 1e-3, 1e-4, 0) is Noise.QUIET, "a hundredth of it"


def test_who_holds_the_clock_counts_too_unless_it_waited_for_the_block_itself() -> None:
    before = Moment(clock=0, ran=0, waited={1: 0}, watcher_waited=50)
    after = Moment(clock=1000, ran=1000, waited={1: 0}, watcher_waited=450)
    assert lost(before, after, 2, 1) == 400
    assert lost(before, after, 2, None) == 400, "nobody knows whether others were there"
    assert lost(before, after, 2, 0) == 0, "there was nobody but the block"
    assert lost(before, after, 1, 1) == 0, "the block had all cores itself"
    assert lost(before.without(300), after, 2, 1) == 100, "what it waited before it watched delays nothing"
    assert lost(before.without(500), after, 2, 1) == 0


def test_others_that_can_run_are_counted_and_waited_for() -> None:
    assert others_running() is not None
    other = subprocess.Popen([sys.executable, "-c", SPIN])
    try:
        time.sleep(0.3)
        assert others_running() >= 1  # type: ignore[operator]
        begin = time.monotonic()
        assert not await_idle(0.05)
        assert time.monotonic() - begin < 1.0
    finally:
        other.kill()
        other.wait()


RIGHT = "return torch.nn.functional.silu(x) * y * self.scale"


def blocks(count: int, seconds: float, noise: Callable[[int], Noise]) -> list[BlockTime]:
    """Of six processes in turn; a disturbed block takes three times as long."""
    rng = random.Random(0)
    found = []
    for i in range(count):
        slower = 3.0 if noise(i) is Noise.NOISY else 1.0
        found.append(BlockTime(i % 6, seconds * slower * rng.lognormvariate(0, 0.03), noise(i)))
    return found


def alone(_: int) -> Noise:
    return Noise.QUIET


@pytest.mark.parametrize("share", [10, 5, 2])
@pytest.mark.parametrize("factor", [1.0, 3.0])
def test_blocks_that_were_left_alone_tell_the_ratio_wherever_they_come(factor: float, share: int) -> None:
    def often(i: int) -> Noise:
        return Noise.NOISY if (7 * i) % share < share - 1 and i % 11 else Noise.QUIET

    for reference, kernel in (
        (blocks(120, factor, often), blocks(120, 1.0, alone)),
        (blocks(120, factor, alone), blocks(120, 1.0, often)),
        (blocks(120, factor, often), blocks(120, 1.0, lambda i: often(i + 5))),
    ):
        found = measurement(reference, kernel, 0, "busy")
        assert found.speedup is not None
        assert found.speedup.value == pytest.approx(factor, rel=0.05)
        assert found.speedup.low <= factor <= found.speedup.high
        assert found.disturbed_rounds > 30


def test_a_few_disturbed_rounds_are_left_out() -> None:
    def seldom(i: int) -> Noise:
        return Noise.NOISY if i % 10 == 0 else Noise.QUIET

    reference, kernel = blocks(60, 3.0, alone), blocks(60, 1.0, seldom)
    left = [i for i in range(60) if i % 10]
    found = measurement(reference, kernel, 0, "busy")
    assert found.speedup == ratio_of([reference[i] for i in left], [kernel[i] for i in left], 0)
    assert (found.rounds, found.disturbed_rounds) == (60, 6)


def test_what_nobody_left_alone_is_not_measured_and_never_told_as_one() -> None:
    rng = random.Random(0)
    reference, kernel = (
        [BlockTime(i % 6, seconds * rng.lognormvariate(0, 0.8), Noise.NOISY) for i in range(40)] for seconds in (3.0, 1)
    )
    found = measurement(reference, kernel, 0, "other programs used 1.9 of 2 cores")
    assert found.speedup is None
    assert found.not_measured == "other programs used 1.9 of 2 cores"
    assert found.fitness > 1.5, "the search ranks it all the same"


def hear(monkeypatch: pytest.MonkeyPatch, noise: Callable[[], Noise]) -> None:
    """Have this noise in the blocks of rounds."""
    run = CpuRuntime.run

    def heard(self: CpuRuntime, blocks: Sequence[TimedBlock]) -> list[BlockResult]:
        found = run(self, blocks)
        return [replace(block, noise=noise()) for block in found] if len(blocks) > 1 else found

    monkeypatch.setattr(CpuRuntime, "run", heard)


def test_beside_a_few_disturbed_rounds_there_are_enough_others(
    settings: EvaluationSettings, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = iter([Noise.NOISY] * 2)
    hear(monkeypatch, lambda: next(expected, Noise.QUIET))
    # Whatever the machine does meanwhile, there is time for the fewest rounds.
    patient = settings.model_copy(update={"timing": settings.timing.model_copy(update={"max_seconds": 30.0})})
    with closing(Pipeline(TASK, CpuDevice(), patient, runtime=runtime)) as pipeline:
        found = pipeline.evaluate(python_kernel(RIGHT)).measurement
    assert next(expected, None) is None
    assert found is not None
    assert 1 <= found.disturbed_rounds <= 2
    assert found.rounds - found.disturbed_rounds >= settings.timing.min_rounds


def test_where_every_round_is_disturbed_measuring_goes_on_within_its_limit(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    hear(monkeypatch, lambda: Noise.NOISY)
    timing = pipeline.settings.timing.model_copy(update={"max_seconds": 0.2, "disturbed_factor": 2.0})
    begin = time.monotonic()
    found = pipeline.evaluate(python_kernel(RIGHT), timing=timing).measurement
    assert found is not None
    assert found.disturbed_rounds == found.rounds
    assert time.monotonic() - begin < 30.0
    if found.speedup is None:
        assert found.not_measured


def test_what_others_took_makes_no_kernel_faster() -> None:
    """Something else had a core in each of the reference's blocks, as long in each."""
    reference = [BlockTime(i % 2, 0.9e-3 + 20e-3, Noise.NOISY, lost=20e-3) for i in range(30)]
    kernel = [BlockTime(0, 1e-3) for i in range(30)]
    found = measurement(reference, kernel, 0, "busy")
    assert found.speedup is None
    assert found.fitness < 1.5
    waiting = [BlockTime(0, 1e-3, Noise.NOISY, lost=0.5e-3) for _ in range(30)]
    assert measurement(kernel, waiting, 0, "busy").speedup is None, "nor does a kernel that has its threads wait gain"


@pytest.mark.parametrize(("high", "tells"), [(1.4, True), (1.6, False)])
def test_no_interval_is_told_that_is_wider_than_half_as_much_again(high: float, tells: bool) -> None:
    speedup = Ratio(value=1.2, low=1.0, high=high)
    found = drop_imprecise_speedup(
        Measurement(speedup=speedup, reference_seconds=1, kernel_seconds=1, rounds=9), "busy"
    )
    assert (found.speedup is not None) is tells
    assert found.not_measured == ("" if tells else "busy")
    assert found.fitness == 1.2


def test_of_a_block_something_is_left() -> None:
    assert 0 < BlockTime(0, 1e-3, Noise.NOISY, lost=2e-3).alone < BlockTime(0, 1e-3).alone == 1e-3


def test_work_of_threads_that_end_is_seen() -> None:
    before = Moment(clock=0, ran=0, waited={1: 0}, threads_ran=0)
    own = Moment(clock=10**7, ran=10**7, waited={1: 0}, threads_ran=10**7 - 50_000)
    assert not has_other_threads(before, own), "reading the counters takes time too"
    shared = Moment(clock=10**7, ran=2 * 10**7, waited={1: 0}, threads_ran=10**7)
    assert has_other_threads(before, shared)


def test_a_process_that_starts_threads_is_told_from_one_that_does_not() -> None:
    me, this = os.getpid(), [threading.get_native_id()]
    before = moment(me, this)
    burn(0.05)
    assert not has_other_threads(before, moment(me, this))
    before = moment(me, this)
    thread = threading.Thread(target=burn, args=(0.05,))
    thread.start()
    thread.join()
    assert has_other_threads(before, moment(me, this))
