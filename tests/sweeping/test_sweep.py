"""A real sweep: killed in the middle, gone on with, and one task of it that cannot be worked on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.small_task import QUICK, SOURCE

ROOT = Path(__file__).parents[2]
SETTINGS = ("budget.evaluations=2", "budget.seconds=100", "evaluation.cache=off", "islands.count=1", *QUICK)


def begin(folder: Path, *words: str) -> subprocess.Popen[str]:
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    return subprocess.Popen(
        [sys.executable, "-m", "kernelevolve", "sweep", "tasks=ops", "sweep.dir=out", *words, *SETTINGS],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def rows(folder: Path) -> list[dict[str, Any]]:
    file = folder / "out" / "results.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def until(seen: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 200
    while not seen():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def of_sweep(folder: Path) -> list[int]:
    """The processes of runs in the folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if b"run.dir=out/" in line and os.readlink(entry / "cwd") == str(folder):
                found.append(int(entry.name))
    return found


@pytest.mark.slow
@pytest.mark.thorough
def test_a_sweep_that_is_killed_goes_on_and_counts_nothing_twice(tmp_path: Path) -> None:
    (tmp_path / "ops").mkdir()
    for name, source in {
        "a_right": SOURCE,
        "b_no_task": "x = 1\n",
        "c_random": SOURCE.replace("* 2.0", "* torch.rand(1)"),
        "d_right": SOURCE.replace("* 2.0", "* 3.0"),
    }.items():
        (tmp_path / "ops" / f"{name}.py").write_text(source)
    first = begin(tmp_path)
    last = tmp_path / "out" / "runs" / "ops-d_right"
    until((last / "config.yaml").exists, first)
    first.send_signal(signal.SIGKILL)
    first.communicate(timeout=30)
    assert [row["task"] for row in rows(tmp_path)] == ["ops/a_right.py", "ops/b_no_task.py", "ops/c_random.py"]
    finished = (tmp_path / "out" / "runs" / "ops-a_right" / "run.json").stat().st_mtime_ns
    deadline = time.monotonic() + 20
    while of_sweep(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not of_sweep(tmp_path), "its runs end with it"

    again = begin(tmp_path, "--json")
    said, news = again.communicate(timeout=280)
    assert again.returncode == 1, news
    assert "4 tasks in out, 3 of them done" in news
    told = json.loads(said)
    assert [row["task"] for row in rows(tmp_path)] == [row["task"] for row in told["tasks"]]
    right, no_task, random, other = told["tasks"]
    assert (tmp_path / "out" / "runs" / "ops-a_right" / "run.json").stat().st_mtime_ns == finished
    for row in (right, other):
        assert row["kernels"] == 2
        assert (tmp_path / "out" / row["kernel"]).read_text().count("class ModelNew")
        assert (row["speedup"] is None) == bool(row["reason"])
    assert no_task["status"] == random["status"] == "refused"
    assert "defines no class Model" in no_task["reason"]
    assert "not deterministic" in random["reason"]
    assert (told["correct"], told["fast_p"]["0"]) == (2, 0.5)
    results = json.loads((tmp_path / "out" / "kernelbench" / "tasks" / "eval_results.json").read_text())
    assert [results[str(number)][0]["correctness"] for number in (1, 2, 3, 4)] == [True, False, False, True]

    third = begin(tmp_path)
    said, _ = third.communicate(timeout=60)
    assert third.returncode == 1
    assert "2 of 4 tasks have a correct kernel" in said
    assert "fast_0 0.50" in said
