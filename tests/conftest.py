"""Fixtures that several packages share."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

import pytest
import ray
from hypothesis import settings

from tests.keys import KEY, VARIABLE

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("explore", max_examples=2000, deadline=None, print_blob=True)
settings.load_profile("repeatable")


def pytest_collection_finish() -> None:
    """What is imported by now stays: looking through all of PyTorch for garbage takes longer than many tests."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@pytest.fixture(autouse=True)
def no_verdicts_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A test neither finds verdicts that others left nor leaves some."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """One real local cluster for the whole session, whose processes know the key of scripted endpoints."""
    os.environ[VARIABLE] = KEY
    ray.init(address="local", num_cpus=2, include_dashboard=False, logging_level="error", log_to_driver=False)
    del os.environ[VARIABLE]
    yield
    ray.shutdown()
