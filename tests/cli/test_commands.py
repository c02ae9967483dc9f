"""The commands as a user calls them."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
QUICK = ("evaluation.final.max_seconds=0.5", "evaluation.final.repeats=0", "final.candidates=2")
"""The last measurement as short as it can be."""
TASK = '''"""Scaled GELU."""

import torch
from torch import nn


class Model(nn.Module):
    def forward(self, x):
        return torch.nn.functional.gelu(x) * 2.0


def get_inputs():
    return [torch.randn(64, 512)]


def get_init_inputs():
    return []


def get_input_variants():
    return {"rows_3": [torch.randn(3, 512)]}
'''


def call(*words: str, cwd: Path | None = None, timeout: float = 280) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kernelevolve", *words],
        cwd=cwd or ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@pytest.fixture
def task(tmp_path: Path) -> Path:
    path = tmp_path / "task.py"
    path.write_text(TASK)
    return path


def test_help_is_quick() -> None:
    best = 9.0
    for _ in range(3):
        begin = time.monotonic()
        assert "commands:" in call("--help").stdout
        best = min(best, time.monotonic() - begin)
    assert best < 1.0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rum"], "did you mean run"),
        (["run"], "task=NAME_OR_FILE"),
        (["run", "task=dlrm/pfn"], "pffn"),
        (["run", "task=dlrm/pffn", "budget.second=3"], "did you mean budget.seconds"),
        (["run", "task=dlrm/pffn", "budget.seconds=soon"], "budget.seconds"),
        (["run", "task=dlrm/pffn", "islands.count=0"], "islands.count"),
        (["run", "task=dlrm/pffn", "search=magic"], "evolutionary"),
        (["run", "task=dlrm/pffn", "search.drafts=0"], "search.drafts"),
        (["run", "task=dlrm/pffn", "device=tpu"], "cpu"),
        (["resume", "/nowhere"], "holds no run"),
        (["evaluate", "dlrm/pffn", "/nowhere.py"], "/nowhere.py"),
        (["tasks", "show", "dlrm/nothing"], "nothing"),
    ],
)
def test_a_mistake_is_one_line(words: list[str], said: str, tmp_path: Path) -> None:
    done = call(*words, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert said in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("class Model(", "class Other("), "Model"),
        (("def get_inputs", "def inputs"), "get_inputs"),
        (("x) * 2.0", "x * 2.0"), "line"),
        (("gelu(x)", "gelu(y)"), "y"),
    ],
)
def test_a_task_at_fault_leaves_no_folder(task: Path, change: tuple[str, str], said: str) -> None:
    task.write_text(TASK.replace(*change))
    folder = task.parent / "run"
    done = call("run", f"task={task}", f"run.dir={folder}", "budget.seconds=5")
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert said in done.stderr
    assert not folder.exists()


def test_settings_are_printed_and_swept() -> None:
    done = call("run", "--cfg", "job", "-m", "task=x", "seed=1,2")
    assert done.stdout.count("seed: 1") == 1
    assert done.stdout.count("seed: 2") == 1
    assert done.returncode == 0


def test_tasks_and_doctor() -> None:
    assert "dlrm/pffn" in call("tasks", "list").stdout
    assert "class Model" in call("tasks", "show", "dlrm/pffn").stdout
    found = json.loads(call("doctor", "--json").stdout)
    assert {"device", "toolchain", "isolation"} <= set(found)
    assert any(row["name"] == "cpp" and row["available"] for row in found["toolchain"])


def test_evaluate_judges_whatever_it_is(task: Path) -> None:
    kernel = task.parent / "kernel.py"
    kernel.write_text(TASK.replace("class Model(", "class ModelNew(").replace("* 2.0", "* 3.0"))
    done = call("evaluate", str(task), str(kernel), "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["status"] == "wrong_result"
    assert told["speedup"] is None
    assert "1.5" in told["diagnosis"]["summary"] + told["diagnosis"]["details"]


def test_a_run_finds_a_faster_kernel_that_runs_alone_and_can_go_on(task: Path) -> None:
    folder = task.parent / "run"
    words = [f"run.dir={folder}", "budget.evaluations=4", "final.compile=false", *QUICK, "seed=3"]
    done = call("run", f"task={task}", *words)
    assert done.returncode == 0, done.stderr
    assert "over eager" in done.stdout
    assert done.stderr == ""
    summary = json.loads((folder / "run.json").read_text())
    assert sum(summary["evaluations"].values()) == 4
    assert (
        summary["best"]["speedup_interval"][0] <= summary["best"]["speedup"] <= summary["best"]["speedup_interval"][1]
    )
    assert set(summary["best"]["variants"]) == {"rows_3"}
    assert "variants over eager: rows_3" in done.stdout
    assert summary["best"]["compile_note"] == "not asked for"
    assert summary["final"] == {"note": "", "dropped": {}}
    again = call("run", f"task={task}", *words)
    assert again.returncode == 2
    assert "resume" in again.stderr
    judged = json.loads(call("evaluate", str(task), str(folder / "best" / "kernel.py"), "--json").stdout)
    assert judged["status"] == "ok"
    low, high = judged["variants"]["rows_3"]["speedup_interval"]
    assert low <= judged["variants"]["rows_3"]["speedup"] <= high
    more = call("resume", str(folder), "budget.evaluations=6")
    assert more.returncode == 0, more.stderr
    assert sum(json.loads((folder / "run.json").read_text())["evaluations"].values()) == 6


def test_a_killed_run_goes_on_without_repeating(task: Path) -> None:
    folder = task.parent / "run"
    words = [f"task={task}", f"run.dir={folder}", "budget.evaluations=7", "final.compile=false", *QUICK]
    process = subprocess.Popen(
        [sys.executable, "-m", "kernelevolve", "run", *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 200
        while time.monotonic() < deadline and _nodes(folder) < 3:
            time.sleep(0.1)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    before = _nodes(folder)
    assert before >= 3
    done = call("resume", str(folder))
    assert done.returncode == 0, done.stderr
    summary = json.loads((folder / "run.json").read_text())
    assert sum(summary["evaluations"].values()) == 7
    assert _nodes(folder) >= 7


def test_an_interrupted_run_writes_what_it_has_and_says_how_to_go_on(task: Path) -> None:
    """Ctrl-C reaches the whole foreground process group, Ray's processes included."""
    folder = task.parent / "run"
    process = subprocess.Popen(
        [sys.executable, "-m", "kernelevolve", "run", f"task={task}", f"run.dir={folder}", "budget.seconds=100"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline and _nodes(folder) < 4:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=150)
    assert process.returncode == 130, out + err
    assert err == ""
    assert f"kernelevolve resume {folder}" in out
    summary = json.loads((folder / "run.json").read_text())
    assert summary["state"] == "interrupted"
    assert summary["nodes"] >= 4
    if summary["best"] is not None:
        assert summary["best"]["measured"] == "search"
        assert (folder / "best" / "kernel.py").exists()


def _nodes(folder: Path) -> int:
    try:
        with sqlite3.connect(f"file:{folder / 'graph.sqlite'}?mode=ro", uri=True) as connection:
            return int(connection.execute("select count(*) from nodes").fetchone()[0])
    except sqlite3.Error:
        return 0
