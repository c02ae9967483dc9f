"""Processes of our own import nothing from the current folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kernelevolve.cluster import _job
from kernelevolve.core.child_process import ROOT, import_path, python_path, scrubbed_environment


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current one, with files that are called as modules are."""
    for name in ("copy", "random", "select", "torch"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('a file of the user')\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_paths_name_no_current_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", "own", "/elsewhere"]))
    assert python_path().split(os.pathsep) == [str(ROOT), str(folder / "own"), "/elsewhere"]
    monkeypatch.setattr(sys, "path", ["", str(folder), "/elsewhere"])
    assert import_path().split(os.pathsep) == [str(ROOT), "/elsewhere"]


def test_workers_of_ray_are_sent_to_our_packages_alone(folder: Path) -> None:
    job = _job()
    job._py_driver_sys_path.extend([str(folder)])
    assert list(job._get_proto_job_config().py_driver_sys_path) == [str(ROOT)]


@pytest.mark.usefixtures("folder")
def test_the_command_runs_beside_a_users_modules() -> None:
    command = [sys.executable, "-m", "kernelevolve", "tasks", "list"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_keys_do_not_reach_a_process_that_runs_foreign_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "hush")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    found = scrubbed_environment(HOME="/nowhere", OMP_NUM_THREADS="2")
    assert "hush" not in found.values()
    assert (found["HOME"], found["OMP_NUM_THREADS"], found["PATH"]) == ("/nowhere", "2", os.environ["PATH"])
