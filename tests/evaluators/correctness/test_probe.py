"""The first look at a task."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from evaluators.correctness.reference.probe import Probe, check_seconds, leak, probe, slowness
from evaluators.settings import EvaluationSettings, Protocol
from kernelevolve.core.errors import UserError
from kernelevolve.core.task import Task
from kernelevolve.tasks.loading import load_module
from tests.evaluators.silu_mul import TASK

SOURCE = """import time, torch

KEPT = []


class Model(torch.nn.Module):
    def forward(self, x):
        BODY


def get_inputs():
    return [torch.randn(256, 256)]
"""


def look(body: str) -> Probe:
    return probe(load_module(Task(name="some", source=SOURCE.replace("BODY", body))))


@pytest.mark.parametrize(
    "body", ["KEPT.append(x * 2); return KEPT[-1]", "self.a = [self.__dict__.get('a'), x + 1]; return x"]
)
def test_what_keeps_memory_leaks(body: str) -> None:
    found = look(body)
    assert 0.8 * 256 * 256 * 4 < found.growth_bytes < 2 * 256 * 256 * 4
    assert "task silu_mul: the reference leaks: its process grows by 0." in leak(TASK, found)


@pytest.mark.parametrize(
    "body",
    [
        "return x * 2",
        "self.last = x * 2; return self.last",
        "a = []; a.append([a, x * 2]); return x",
        "KEPT[:] = [x * 2]; return x",
    ],
)
def test_what_replaces_what_it_keeps_does_not(body: str) -> None:
    assert look(body).growth_bytes == 0


def test_a_slow_call_is_made_once_and_one_that_raises_is_the_tasks_fault() -> None:
    assert look("time.sleep(0.6); KEPT.append(1); assert len(KEPT) < 2; return x").seconds == pytest.approx(
        0.6, abs=0.2
    )
    with pytest.raises(UserError, match=r"task some, line 8: forward raised AttributeError"):
        look("return x.nothing")


def test_an_estimate_is_told_where_judging_takes_long() -> None:
    plain = yaml.safe_load((Path(__file__).parents[3] / "conf/evaluation/default.yaml").read_text())
    settings = EvaluationSettings.model_validate(plain)
    quick, slow = (Probe(seconds=seconds, variants=0, growth_bytes=0) for seconds in (0.001, 0.5))
    assert slowness(TASK, quick, settings, settings.final, prepared=False) == ""
    told = slowness(TASK, slow, settings, settings.final, prepared=False)
    assert told.startswith("task silu_mul: one call of the reference takes 0.5 s: computing its results takes about ")
    assert "too short" not in told, "the limit follows from what the reference takes"
    there = slowness(TASK, slow, settings, settings.final, prepared=True)
    assert "computing" not in there
    assert check_seconds(quick, settings, 20) == settings.run_timeout
    assert check_seconds(slow, settings, 20) > 2 * 2 * 20 * slow.seconds
    loose = settings.model_copy(update={"protocol": Protocol.KERNELBENCH})
    assert slowness(TASK, slow, loose, settings.final, prepared=True).endswith("about 109 s")
