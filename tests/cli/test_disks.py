"""Folders without room: one line that says which, exit code 2, and nothing is lost.

Each case has a small disk of its own, mounted in a mount namespace that ends with it.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.small_task import QUICK, SOURCE, kernel

ROOT = Path(__file__).parents[2]
PYTHON = f"{shlex.quote(sys.executable)} -m kernelevolve"


def _may_mount() -> bool:
    command = ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


pytestmark = pytest.mark.skipif(not _may_mount(), reason="mounting takes privileges that this user has not")


def shell(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["unshare", "-m", "sh", "-c", script],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


@pytest.fixture
def task(tmp_path: Path) -> Path:
    (tmp_path / "kernel.py").write_text(kernel())
    path = tmp_path / "task.py"
    path.write_text(SOURCE)
    return path


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("size=64k", "the inputs and results of task task"),
        ("size=1300k", "the inputs and results of task task"),
        ("nr_inodes=1", "/dev/shm"),
    ],
)
def test_evaluating_with_little_shared_memory_is_one_line(task: Path, options: str, said: str) -> None:
    command = f"{PYTHON} evaluate {task} {task.parent / 'kernel.py'} evaluation.run_timeout=2"
    done = shell(f"mount -t tmpfs -o {options} tmpfs /dev/shm && {command}")
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "no room in /dev/shm" in done.stderr
    assert said in done.stderr


@pytest.mark.thorough
def test_a_run_with_full_shared_memory_is_one_line_and_leaves_no_folder(task: Path) -> None:
    folder = task.parent / "run"
    fill = "dd if=/dev/zero of=/dev/shm/filling 2>/dev/null"
    done = shell(f"mount -t tmpfs -o size=2m tmpfs /dev/shm; {fill}; {PYTHON} run task={task} run.dir={folder}")
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "no room in /dev/shm (0.0 of 2.0 MiB free)" in done.stderr
    assert not folder.exists()


@pytest.mark.thorough
def test_a_run_on_a_full_disk_stops_with_one_line_and_what_it_wrote_can_be_gone_on_from(task: Path) -> None:
    disk = task.parent / "disk"
    disk.mkdir()
    run = f"{PYTHON} run task={task} run.dir={disk}/run budget.evaluations=60 islands.count=1 {' '.join(QUICK)}"
    more = f"{shlex.quote(sys.executable)} -c {shlex.quote(STORED)} {disk}/run"
    done = shell(
        f"mount -t tmpfs -o size=200k tmpfs {disk} && {run} >&2; echo $?; mount -o remount,size=50m {disk} && {more}"
    )
    first, *stored = done.stdout.splitlines()
    told = [line for line in done.stderr.splitlines() if line.startswith("kernelevolve: ")]
    assert first == "2", done.stderr
    assert len(told) == 1
    assert f"the disk of {disk}/run is full" in told[0]
    assert "Traceback" not in done.stderr
    nodes, logged, best = json.loads("".join(stored))
    assert nodes == logged >= 1
    assert best == 1


STORED = """
import json, sys
from pathlib import Path
from kernelevolve.store.sqlite import SqliteStore
store = SqliteStore(Path(sys.argv[1]), patience=30)
own = {node.id for node in store.log(0)}
print(json.dumps([store.statistics()["nodes"], len(own), len(store.best(1))]))
"""
"""Opens the graph as `resume` does, to be written to."""
