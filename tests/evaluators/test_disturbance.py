"""Blocks that other processes had a part of are told from others, and say nothing of a kernel."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.registry import get_device
from evaluators import timing
from evaluators.disturbance import Moment, disturbed, lost, moment
from evaluators.pipeline import Pipeline
from evaluators.settings import EvaluationSettings
from evaluators.statistics import measurement, ratio_of
from evaluators.stopping import Taken

from .conftest import TASK, python_kernel

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
    return lost(before, moment(me, [thread]), 1)[0] / 1e9


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
    assert disturbed(0.4, shared)


def test_threads_of_its_own_take_nothing_from_a_process() -> None:
    before = Moment(clock=0, ran=0, waited={1: 0})
    crowded = Moment(clock=1000, ran=1990, waited={1: 500})
    assert lost(before, crowded, 2) == (10, 10)
    shared = Moment(clock=1000, ran=1200, waited={1: 500, 2: 10_000})
    assert lost(before, shared, 2) == (500, 500), "a thread that began in between has waited since nobody knows when"


def test_threads_may_have_waited_together_or_in_turns() -> None:
    before = Moment(clock=0, ran=0, waited={1: 100, 2: 0})
    after = Moment(clock=1000, ran=1200, waited={1: 500, 2: 300})
    assert lost(before, after, 2) == (400, 700)


def test_a_process_that_is_gone_lost_nothing() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    gone = moment(process.pid, [process.pid])
    assert lost(gone, gone, 2) == (0, 0)


@pytest.mark.parametrize(("factor", "claimed"), [(1.0, 1.0), (3.0, 2.0), (1 / 3, 1 / 2)])
def test_a_disturbed_measurement_claims_what_is_sure(factor: float, claimed: float) -> None:
    rng = random.Random(0)
    reference = [Taken(i % 2, factor * rng.lognormvariate(0, 0.05), disturbed=i % 4 > 0) for i in range(40)]
    kernel = [Taken(i % 2, rng.lognormvariate(0, 0.05)) for i in range(40)]
    found = measurement(reference, kernel, 0, cautious=True)
    assert (found.rounds, found.disturbed_rounds) == (40, 30)
    value = found.speedup.value
    assert value in {found.speedup.low, found.speedup.high, 1.0}
    assert abs(value - 1) <= abs(claimed - 1) * 2
    quiet = measurement([Taken(t.process, t.seconds) for t in reference], kernel, 0, cautious=True)
    assert quiet.disturbed_rounds == 0
    assert abs(quiet.speedup.value - 1) >= abs(value - 1)


def test_rounds_that_nobody_disturbed_count_alone_where_they_are_enough() -> None:
    rng = random.Random(0)
    # Others make a block three times as long.
    reference = [Taken(i % 6, 3.0 * rng.lognormvariate(0, 0.05)) for i in range(40)]
    kernel = [Taken(i % 6, rng.lognormvariate(0, 0.05) * (3 if i % 2 else 1), disturbed=i % 2 == 1) for i in range(40)]
    found = measurement(reference, kernel, 0, cautious=True)
    assert (found.rounds, found.disturbed_rounds) == (20, 0)
    assert found.speedup.value == pytest.approx(3.0, rel=0.05)
    assert found.speedup == ratio_of(reference, kernel, 0)


def test_on_a_machine_that_is_never_left_alone_nothing_unsure_is_claimed() -> None:
    rng = random.Random(0)
    reference = [Taken(i % 6, 1.1 * rng.lognormvariate(0, 0.3)) for i in range(40)]
    kernel = [Taken(i % 6, rng.lognormvariate(0, 0.3)) for i in range(40)]
    assert measurement(reference, kernel, 0, cautious=True).speedup.value != 1.0
    loud = measurement(reference, kernel, 0, cautious=True, loud=True).speedup
    assert loud.value == 1.0
    assert loud.confidence == 0.998
    assert loud.high > measurement(reference, kernel, 0, cautious=True).speedup.high
    assert measurement(reference, kernel, 0, cautious=False, loud=True).speedup.value != 1.0


RIGHT = "return torch.nn.functional.silu(x) * y * self.scale"


def test_disturbed_rounds_are_taken_again(settings: EvaluationSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([True] * 4)
    monkeypatch.setattr(timing, "disturbed", lambda *_: next(answers, False))
    # Whatever the machine does meanwhile, there is time for the fewest rounds.
    patient = settings.model_copy(update={"timing": settings.timing.model_copy(update={"max_seconds": 30.0})})
    with closing(Pipeline(TASK, get_device("cpu"), patient)) as pipeline:
        found = pipeline.evaluate(python_kernel(RIGHT)).measurement
    assert next(answers, None) is None
    assert found is not None
    assert found.disturbed_rounds == 0
    assert found.rounds >= settings.timing.min_rounds


def test_where_every_round_is_disturbed_there_is_a_verdict_that_says_so(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "disturbed", lambda *_: True)
    cautious = pipeline.settings.timing.model_copy(update={"cautious": True})
    found = pipeline.evaluate(python_kernel(RIGHT), timing=cautious).measurement
    assert found is not None
    assert found.disturbed_rounds == found.rounds >= pipeline.settings.timing.min_rounds
    assert found.speedup.value == min(max(1.0, found.speedup.low), found.speedup.high)


def test_what_others_took_makes_no_kernel_faster() -> None:
    """Measured while something else had a core in each of the reference's blocks."""
    reference = [Taken(i % 2, 0.9e-3 + 20e-3, disturbed=True, lost=20e-3) for i in range(6)]
    kernel = [Taken(0, 1e-3) for _ in range(6)]
    found = ratio_of(reference, kernel, 0)
    assert found.low < found.value < 1.0
    assert found.high > 20.0, "how much they took is not known for sure"
    alone = ratio_of([Taken(t.process, 0.9e-3) for t in reference], kernel, 0)
    assert (found.low, found.value) == pytest.approx((alone.low, alone.value))


def test_a_kernel_whose_threads_wait_gains_nothing() -> None:
    """It may have them wait for each other on one core: that looks as if others had it."""
    reference = [Taken(i % 2, 1e-3) for i in range(6)]
    waiting = [Taken(0, 2e-3, disturbed=True, lost=1e-3) for _ in range(6)]
    found = ratio_of(reference, waiting, 0)
    assert found.value == pytest.approx(0.5)
    assert found.high > 0.9


@given(st.floats(1e-6, 1.0), st.floats(0.0, 2.0))
def test_of_a_block_something_is_left(seconds: float, lost: float) -> None:
    assert 0 < Taken(0, seconds, disturbed=True, lost=lost).alone <= seconds
    assert Taken(0, seconds, lost=lost).alone == seconds
