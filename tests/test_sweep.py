"""The jobs of a sweep share one Ray where they ask for the same. Runs and Ray are stand-ins here: what is looked at is who starts what."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from kernelevolve import config, run
from kernelevolve.cluster import ClusterSettings
from kernelevolve.core.errors import UserError


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


def test_a_job_that_fails_ends_the_sweep(log: list[str]) -> None:
    assert run.start_many(jobs("seed=9,1")) == 3
    assert log == ["ray None", "run 9 runs/0", "end"]


def test_a_task_that_is_not_there_is_told_before_anything_starts(log: list[str]) -> None:
    with pytest.raises(UserError, match="no task"):
        run.start_many([*jobs("seed=1,2"), config.load(["task=dlrm/nope"])])
    assert log == []
