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

ROOT = Path(__file__).parents[2]
MODEL = """import torch


class {name}(torch.nn.Module):
    def forward(self, x):
        return torch.nn.functional.gelu(x) * 2.0


def get_inputs():
    return [torch.randn(64, 512)]
"""
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
    (tmp_path / "kernel.py").write_text(MODEL.format(name="ModelNew"))
    path = tmp_path / "task.py"
    path.write_text(MODEL.format(name="Model"))
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


def test_a_run_with_full_shared_memory_is_one_line_and_leaves_no_folder(task: Path) -> None:
    folder = task.parent / "run"
    fill = "dd if=/dev/zero of=/dev/shm/filling 2>/dev/null"
    done = shell(f"mount -t tmpfs -o size=2m tmpfs /dev/shm; {fill}; {PYTHON} run task={task} run.dir={folder}")
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "no room in /dev/shm (0.0 of 2.0 MiB free)" in done.stderr
    assert not folder.exists()


def test_a_run_on_a_full_disk_stops_with_one_line_and_goes_on_with_room(task: Path) -> None:
    disk = task.parent / "disk"
    disk.mkdir()
    run = f"{PYTHON} run task={task} run.dir={disk}/run budget.evaluations=60 final.compile=false"
    run += " evaluation.final.max_seconds=0.5 final.candidates=1"
    more = f"{PYTHON} resume {disk}/run budget.evaluations=3"
    done = shell(
        f"mount -t tmpfs -o size=200k tmpfs {disk} && {run} >&2; echo $?; "
        f"mount -o remount,size=50m {disk} && {more} >&2 2>/dev/null; echo $?; cat {disk}/run/run.json"
    )
    first, second, *summary = done.stdout.splitlines()
    told = [line for line in done.stderr.splitlines() if line.startswith("kernelevolve: ")]
    assert first == "2", done.stderr
    assert len(told) == 1
    assert f"the disk of {disk}/run is full" in told[0]
    assert "Traceback" not in done.stderr
    assert second == "0"
    assert json.loads("".join(summary))["evaluations"]["ok"] >= 1
