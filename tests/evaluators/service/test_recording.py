"""A run's verdicts, kept for its replay: all of them, in order, under the same conditions only."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import ray

from devices.cpu import CpuDevice
from evaluators.service.recording import VERDICTS, EvaluationRecording, Replayed
from evaluators.service.service import EvaluationService
from evaluators.settings import EvaluationSettings
from kernelevolve.core.errors import UserError
from kernelevolve.core.evaluation import Evaluation, Measurement, Status
from tests.evaluators.silu_mul import TASK, python_kernel

from .test_cache import verdict


def guess(value: float) -> Evaluation:
    measured = Measurement(
        speedup=None,
        not_measured="others used the cores",
        rough_speedup=value,
        reference_seconds=2.0,
        kernel_seconds=1.0,
        rounds=9,
    )
    return verdict(Status.OK).model_copy(update={"measurement": measured})


def test_guesses_and_time_outs_are_given_again_in_turn(tmp_path: Path) -> None:
    given = [guess(1.5), verdict(Status.TIMEOUT), guess(1.2), verdict(Status.OK)]
    recording = EvaluationRecording(tmp_path / VERDICTS)
    for one in given:
        recording.put(one, "here")
    recording.put(verdict(Status.CRASHED, "other"), "here")
    replayed = Replayed(recording)
    found = [replayed.next("k", "here") for _ in range(5)]
    assert found == [*(one.model_copy(update={"cached": True}) for one in given), None]
    assert replayed.next("k", "elsewhere") is None


def test_a_file_that_is_none_is_told_in_a_line(tmp_path: Path) -> None:
    (tmp_path / VERDICTS).write_text("no database, but long enough to be taken for one\n" * 50)
    with pytest.raises(UserError, match="evaluations cannot be recorded in, or read from"):
        EvaluationRecording(tmp_path / VERDICTS)


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.thorough
def test_a_replay_is_given_what_was_measured_then(
    settings: EvaluationSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = python_kernel("return torch.nn.functional.silu(x) * y * self.scale")
    counting = settings.model_copy(update={"cache": True})

    def judged(name: str, wanted: EvaluationSettings, replayed: Path | None) -> Evaluation:
        """In a run without verdicts of others."""
        folder = tmp_path / name
        folder.mkdir()
        monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
        service = EvaluationService.start(TASK, CpuDevice(), wanted, recording=folder / VERDICTS, replayed=replayed)
        ray.get(service.warm())
        try:
            return asyncio.run(service.evaluate(kernel))
        finally:
            service.close()

    first = judged("first", counting, None)
    again = judged("again", counting, tmp_path / "first" / VERDICTS)
    assert again == first.model_copy(update={"cached": True})
    assert judged("of_the_replay", counting, tmp_path / "again" / VERDICTS) == again
    assert not judged("anew", settings.model_copy(update={"cache": False}), tmp_path / "first" / VERDICTS).cached
    other = counting.model_copy(update={"trials": counting.trials + 1})
    assert not judged("other_settings", other, tmp_path / "first" / VERDICTS).cached
