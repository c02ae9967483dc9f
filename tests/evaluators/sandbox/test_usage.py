"""What setrlimit does not bound: shared memory, files, threads. Folders that are hard to remove."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from devices.cpu import CpuDevice
from evaluators.runtime.base import Runtime
from evaluators.sandbox.usage import Allowance, excess, private_bytes
from evaluators.scratch import remove_tree, scratch_base
from evaluators.service.pipeline import Pipeline
from evaluators.settings import EvaluationSettings
from kernelevolve.core.evaluation import Status
from tests.evaluators.silu_mul import TASK, python_kernel

pytestmark = pytest.mark.alone

TOP = """
import mmap, threading, time

PAGE = b"x" * (1 << 20)


def shared():
    kept = mmap.mmap(-1, 3 << 30)
    while kept.tell() < 3 << 30:
        kept.write(PAGE)
    time.sleep(9)


def memfds(linked=False):
    for i in range(500):
        f = os.open(f"f{i}", 66, 384) if linked else os.memfd_create("m")
        for _ in range(100):
            os.write(f, PAGE)
        if linked:
            os.close(f)
    time.sleep(9)


def unlinked():
    for i in range(500):
        f = os.open(f"f{i}", 66, 384)
        os.unlink(f"f{i}")
        for _ in range(100):
            os.write(f, PAGE)
    time.sleep(9)


def many_files():
    for i in range(100_000):
        os.mkdir(f"d{i}")
    time.sleep(9)


def threads():
    threading.stack_size(1 << 16)
    for _ in range(20_000):
        threading.Thread(target=time.sleep, args=(9,), daemon=True).start()
    time.sleep(9)
"""


@pytest.fixture(scope="module")
def small(settings: EvaluationSettings, runtime: Runtime) -> Iterator[Pipeline]:
    with closing(Pipeline(TASK, CpuDevice(), settings.model_copy(update={"memory_gb": 0.25}), runtime=runtime)) as made:
        yield made


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("shared()", "more memory than it may have"),
        ("memfds()", "more memory than it may have, in files"),
        ("memfds(True)", "more memory than it may have, in files"),
        ("unlinked()", "more memory than it may have, in files"),
        ("many_files()", "files"),
        ("threads()", "threads"),
    ],
)
def test_what_no_limit_of_the_system_bounds_is_bounded(small: Pipeline, call: str, words: str) -> None:
    verdict = small.evaluate(python_kernel(f"{call}; return x", TOP))
    assert verdict.status is Status.OUT_OF_MEMORY, verdict.diagnosis
    assert verdict.diagnosis is not None
    assert words in verdict.diagnosis.summary
    small.runtime.rest()
    # The runtime is shared: other pipelines keep runners of their references.
    held = {entry for entry in small.runtime.server._base.iterdir() if list(entry.iterdir())}
    assert not held


def test_a_process_within_its_allowance_may_go_on(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(1 << 20))
    allowance = Allowance(memory_bytes=1 << 30, files=4, threads=1000)
    held = private_bytes()
    assert excess(os.getpid(), str(tmp_path), allowance, held) is None
    little = allowance.model_copy(update={"memory_bytes": 1 << 19})
    assert excess(os.getpid(), str(tmp_path), little, held + (1 << 30)) is not None


def test_a_folder_is_removed_however_deep_it_is(tmp_path: Path) -> None:
    folder = Path(tempfile.mkdtemp(dir=scratch_base()))
    here = os.open(folder, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("deep", 0o300, dir_fd=here)
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, 0o000, dir_fd=here))
        os.symlink(tmp_path, "link", dir_fd=here)
        below = os.open("deep", os.O_PATH, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    (tmp_path / "mine").write_text("x")
    remove_tree(folder)
    assert not folder.exists()
    assert (tmp_path / "mine").read_text() == "x"
    remove_tree(folder)
