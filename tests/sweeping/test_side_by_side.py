"""The jobs of a sweep share one Ray where they ask for the same.

Runs and Ray are stand-ins where what is looked at is who starts what in turn; runs side by side are real.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kernelevolve import cli, config, run
from kernelevolve.cluster import ClusterSettings
from kernelevolve.core.errors import UserError
from tests.small_task import QUICK, SOURCE


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What happens, in order."""
    happened: list[str] = []

    @contextmanager
    def session(settings: ClusterSettings) -> Iterator[None]:
        happened.append(f"ray {settings.cpus}")
        yield
        happened.append("end")

    def start(settings: config.RunConfig, *, quiet: bool) -> int:
        del quiet
        happened.append(f"run {settings.seed} {settings.run.dir}")
        return 3 if settings.seed == 9 else 0

    monkeypatch.setattr(run, "ray_session", session)
    monkeypatch.setattr(run, "start", start)
    return happened


def jobs(*overrides: str) -> list[config.RunConfig]:
    return [config.load(words) for words in config.sweep(["task=dlrm/pffn", "run.dir=runs", *overrides])]


def test_jobs_on_the_same_cluster_share_it(log: list[str]) -> None:
    assert run.start_many(jobs("seed=1,2")) == 0
    assert log == ["ray None", "run 1 runs/0", "run 2 runs/1", "end"]


def test_jobs_on_other_clusters_and_single_runs_start_their_own(log: list[str]) -> None:
    assert run.start_many(jobs("cluster.cpus=1,2")) == 0
    assert run.start_many(jobs("seed=5")) == 0
    assert log == ["run 0 runs/0", "run 0 runs/1", "run 5 runs"]


def test_a_job_that_fails_is_told_by_the_exit_code_and_the_others_go_on(log: list[str]) -> None:
    assert run.start_many(jobs("seed=9,1")) == 3
    assert log == ["ray None", "run 9 runs/0", "run 1 runs/1", "end"]


def test_an_interrupt_ends_the_sweep(log: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "start", lambda *_, **__: run.INTERRUPTED)
    assert run.start_many(jobs("seed=9,1")) == run.INTERRUPTED
    assert log == ["ray None", "end"]


def test_a_task_that_is_not_there_is_told_before_anything_starts(log: list[str]) -> None:
    with pytest.raises(UserError, match="no task"):
        run.start_many([*jobs("seed=1,2"), config.load(["task=dlrm/nope"])])
    assert log == []


ROOT = Path(__file__).parents[2]


def sweep(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    settings = ["budget.evaluations=2", "budget.seconds=100", "evaluation.cache=off", *QUICK]
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    return subprocess.run(
        [sys.executable, "-m", "kernelevolve", "run", "-m", *words, *settings],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.thorough
def test_runs_side_by_side_share_a_ray_and_say_which_is_which(tmp_path: Path) -> None:
    (tmp_path / "task.py").write_text(SOURCE)
    done = sweep(tmp_path, "-j", "2", "task=task.py", "seed=4,5", "run.dir=out", "islands.count=1")
    assert done.returncode == 0, done.stdout + done.stderr
    for number in (0, 1):
        told = json.loads((tmp_path / "out" / str(number) / "run.json").read_text())
        assert told["seed"] == 4 + number
        assert sum(told["evaluations"].values()) == 2
        assert any(line.startswith(f"[{number}] task: starting") for line in done.stdout.splitlines())
    again = sweep(tmp_path, "-j", "2", "task=task.py", "seed=4,5", "run.dir=out", "islands.count=1")
    assert again.returncode == 2
    assert "out exists" in again.stderr


def test_runs_side_by_side_need_one_cluster(tmp_path: Path) -> None:
    done = sweep(tmp_path, "-j", "2", "task=dlrm/pffn", "cluster.cpus=1,2", "run.dir=out")
    assert done.returncode == 2
    assert "same cluster" in done.stderr
    assert not (tmp_path / "out").exists()


def test_side_by_side_is_for_sweeps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "-j", "2", "task=dlrm/pffn", f"run.dir={tmp_path / 'out'}"]) == 2
    assert "-m" in capsys.readouterr().err
