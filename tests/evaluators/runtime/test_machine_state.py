"""What else the machine does, and what becomes of a measurement that it disturbs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from evaluators.runtime.base import Observation, Runtime
from evaluators.runtime.cpu.machine_state import Snapshot, between, snapshot
from evaluators.service.pipeline import Pipeline
from evaluators.timing.machine_noise import joined, quietest
from evaluators.timing.repeating import undisturbed
from kernelevolve.core.evaluation import MachineState, Status
from tests.evaluators.silu_mul import python_kernel

pytestmark = pytest.mark.alone

BEFORE = Snapshot(
    at=10.0,
    cores=4,
    busy=100.0,
    steal=3.0,
    own=20.0,
    load=1.0,
    pressure=5.0,
    clock_mhz=2400.0,
    thermal_throttles=1,
    cgroup_throttles=7,
)
QUIET = replace(BEFORE, at=12.0, busy=103.0, own=23.0)
RIGHT = "return torch.nn.functional.silu(x) * y * self.scale"


class _Told(Runtime):
    """A runtime whose machine is in the states that it is told, one after the other."""

    def __init__(self, states: list[MachineState]) -> None:
        self._states = iter(states)

    def observe(self) -> Observation:
        return self

    def finish(self, disturbed_above: float) -> MachineState:
        assert disturbed_above == 0.10
        return next(self._states)


_Told.__abstractmethods__ = frozenset()


def seen(**changed: float) -> MachineState:
    return between(BEFORE, replace(QUIET, **changed), 0.10)


def test_what_others_took_is_what_was_busy_and_not_ours() -> None:
    state = seen(busy=104.0, steal=3.2, pressure=5.5)
    assert state.foreign_share == pytest.approx(1.0 / 8)
    assert state.steal_share == pytest.approx(0.2 / 8)
    assert state.pressure_share == pytest.approx(0.25)
    assert state.disturbed


@pytest.mark.parametrize(
    ("changed", "disturbed"),
    [
        ({}, False),
        ({"busy": 103.7}, False),
        ({"busy": 103.9}, True),
        ({"steal": 3.9}, True),
        ({"busy": 103.5, "steal": 3.5}, True),
        ({"thermal_throttles": 2}, True),
        ({"cgroup_throttles": 8}, True),
        ({"busy": 102.0}, False),
    ],
)
def test_when_a_measurement_is_disturbed(changed: dict[str, float], disturbed: bool) -> None:
    assert seen(**changed).disturbed is disturbed


def test_ticks_tell_nothing_of_a_moment() -> None:
    state = between(BEFORE, replace(QUIET, at=10.05), 0.10)
    assert state.foreign_share is None
    assert not state.disturbed


def test_what_the_machine_does_not_tell_is_not_made_up() -> None:
    blind = {"pressure": None, "clock_mhz": None, "thermal_throttles": None, "cgroup_throttles": None}
    state = between(replace(BEFORE, **blind), replace(QUIET, **blind), 0.10)  # type: ignore[arg-type]
    assert state.model_dump(include=set(blind) - {"pressure"} | {"pressure_share"}) == {
        "pressure_share": None,
        "clock_mhz": None,
        "thermal_throttles": None,
        "cgroup_throttles": None,
    }


def test_the_quietest_is_kept_and_one_word_said_of_all() -> None:
    loud, less, quiet = seen(busy=108.0), seen(busy=106.0), seen()
    assert quietest([loud, less]) == 1
    assert quietest([loud, quiet, less]) == 1
    whole = joined([quiet, less.model_copy(update={"repeats": 2})])
    assert whole is not None
    assert whole.disturbed
    assert whole.repeats == 2
    assert whole.foreign_share == pytest.approx((0.0 + 3.0 / 8) / 2)
    assert joined([]) is None


@contextmanager
def spinning(count: int) -> Iterator[None]:
    """Programs that take a core each, and are no children of this process: others' work, as far as can be told."""
    code = "import os, sys\nif os.fork(): os._exit(0)\nos.setsid(); print(os.getpid(), flush=True)\nwhile True: pass"
    pids = []
    for _ in range(count):
        started = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert started.stdout is not None
        pids.append(int(started.stdout.readline()))
        started.stdout.close()
        started.wait()
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, 9)


def test_own_work_is_not_foreign_and_others_is() -> None:
    before = snapshot()
    subprocess.run([sys.executable, "-c", "import time\nwhile time.process_time() < 0.5: pass"], check=True)
    own = snapshot()
    assert own.own - before.own >= 0.4, "a child that has ended counts"
    with spinning(1):
        begin = snapshot()
        time.sleep(0.8)
        state = between(begin, snapshot(), 0.10)
    assert state.foreign_share is not None
    assert state.foreign_share + (state.steal_share or 0.0) > 0.5 / begin.cores
    assert state.load >= 0


def test_the_record_says_that_a_measurement_was_disturbed(pipeline: Pipeline) -> None:
    with spinning(len(os.sched_getaffinity(0))):
        verdict = pipeline.evaluate(python_kernel(RIGHT))
    assert verdict.status is Status.OK, verdict.diagnosis
    assert verdict.machine is not None
    assert verdict.machine.disturbed
    assert verdict.machine.foreign_share is not None
    assert verdict.machine.foreign_share > 0.10


def test_only_disturbed_measurements_are_repeated() -> None:
    taken: list[int] = []

    def measure() -> int:
        taken.append(len(taken))
        return taken[-1]

    machine = _Told([seen(busy=109.0), seen(), seen()])
    found, state = undisturbed(machine, measure, 0.10, 2)
    assert (found, taken) == (1, [0, 1])
    assert (state.disturbed, state.repeats) == (False, 1)
    found, state = undisturbed(machine, measure, 0.10, 2)
    assert (found, state.repeats) == (2, 0)


def test_where_all_are_disturbed_the_quietest_is_kept() -> None:
    machine = _Told([seen(busy=109.0), seen(busy=108.0), seen(busy=110.0)])
    numbers = iter("abc")
    found, state = undisturbed(machine, lambda: next(numbers), 0.10, 2)
    assert found == "b"
    assert (state.disturbed, state.repeats) == (True, 2)


def test_nothing_measured_is_nothing_seen(pipeline: Pipeline) -> None:
    assert pipeline.evaluate(python_kernel("return x")).machine is None
