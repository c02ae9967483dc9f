"""Two runs of one user at the same time on one machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from kernelevolve.report.folder import RunFolder
from kernelevolve.store.reader import GraphReader
from tests.alone import runs_alone
from tests.small_task import QUICK, SOURCE

ROOT = Path(__file__).parents[2]
HOLDER = """
import sys, time
from evaluators.runtime.device_lock import DeviceLock
with DeviceLock().exclusive():
    print("measuring", flush=True)
    sys.stdin.readline()
    print(time.monotonic(), flush=True)
"""
WAITER = """
import time
from evaluators.runtime.device_lock import DeviceLock
with DeviceLock().exclusive():
    print(time.monotonic(), flush=True)
"""


def begin(folder: Path, environment: dict[str, str], *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_measuring_excludes_another_process_with_another_environment(tmp_path: Path) -> None:
    """As in another session, or another job of a scheduler, which have temporary folders of their own."""
    holder = begin(tmp_path, {}, "-c", HOLDER)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "measuring\n"
    waiter = begin(tmp_path, {"TMPDIR": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}, "-c", WAITER)
    with pytest.raises(subprocess.TimeoutExpired):
        waiter.wait(1.0)
    released, _ = holder.communicate("go\n", timeout=30)
    taken, error = waiter.communicate(timeout=30)
    assert float(taken) > float(released), error


@pytest.mark.thorough
@pytest.mark.slow
def test_two_runs_at_once_find_faster_kernels_that_run_alone(tmp_path: Path) -> None:
    (tmp_path / "task.py").write_text(SOURCE)
    words = ["task=task.py", "budget.evaluations=4", "seed=3", "run.store=graphs", *QUICK]
    command = ["-m", "kernelevolve", "run", *words]
    with tempfile.TemporaryDirectory(dir="/tmp") as other:  # Ray takes no long path.
        environments = {"a": {}, "b": {"TMPDIR": other}}
        runs = [
            begin(tmp_path, env, *command, f"run.dir={name}/run", "islands.count=1")
            for name, env in environments.items()
        ]
        for run in runs:
            said, error = run.communicate(timeout=280)
            assert (run.returncode, error) == (0, "")
            assert "over eager" in said
            assert "variants over eager: rows_3" in said
    for name in ("a", "b"):
        summary = json.loads((tmp_path / name / "run" / "run.json").read_text())
        assert sum(summary["evaluations"].values()) == 4
        assert summary["evaluations"]["ok"] >= 2
        assert summary["best"]["measured"] == "final"
        assert summary["best"]["compile_note"] == "not asked for"
        assert summary["final"] == {"note": "", "dropped": {}}
        for one in (summary["best"], summary["best"]["variants"]["rows_3"]):
            assert (one["speedup"] is None) == bool(one["not_measured"])
            low, high = one["speedup_interval"] or (0, 0)
            assert low <= (one["speedup"] or 0) <= high
    assert sorted(path.name for path in (tmp_path / "graphs").glob("*.sqlite")) == ["run-2.sqlite", "run.sqlite"]
    graphs = [RunFolder(tmp_path / name / "run").graph() for name in ("a", "b")]
    for place in graphs:
        with closing(GraphReader(*place)) as reader:
            assert reader.statistics()["kernels"] == 4
    assert len(set(graphs)) == 2
    again = begin(tmp_path, {}, *command, "run.dir=a/run")
    _, error = again.communicate(timeout=60)
    assert again.returncode == 2
    assert "resume" in error
    right = "torch.allclose(kernel.ModelNew()(x), torch.nn.functional.gelu(x) * 2, atol=1e-5)"
    runs_alone(tmp_path / "a" / "run" / "best", f"x = torch.randn(3, 512); assert {right}")


def test_a_temporary_folder_that_ray_cannot_use_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "task.py").write_text(SOURCE)
    long = tmp_path / ("long" * 30)
    long.mkdir()
    run = begin(tmp_path, {"TMPDIR": str(long)}, "-m", "kernelevolve", "run", "task=task.py", "run.dir=run")
    _, error = run.communicate(timeout=150)
    assert run.returncode == 2
    assert len(error.splitlines()) == 1
    assert "TMPDIR" in error
    assert not (tmp_path / "run").exists()
