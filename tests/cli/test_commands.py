"""The commands as a user calls them."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from ray.exceptions import OutOfMemoryError, RayTaskError

from kernelevolve.cli import _lost_process
from tests.small_task import SOURCE, kernel

ROOT = Path(__file__).parents[2]


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
    path.write_text(SOURCE)
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
        (["measure", "/nowhere"], "holds no run"),
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
    ],
)
def test_a_task_at_fault_leaves_no_folder(task: Path, change: tuple[str, str], said: str) -> None:
    task.write_text(SOURCE.replace(*change))
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
    assert any(row["name"] == "cpu/cpp" and row["available"] for row in found["toolchain"])


def test_evaluate_judges_whatever_it_is(task: Path) -> None:
    file = task.parent / "kernel.py"
    file.write_text(kernel(factor=3.0))
    done = call("evaluate", str(task), str(file), "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["status"] == "wrong_result"
    assert told["speedup"] is None
    assert "1.5" in told["diagnosis"]["summary"] + told["diagnosis"]["details"]


@pytest.mark.parametrize("command", ["run", "evaluate"])
def test_a_termination_during_imports_is_an_interrupt_in_one_line(task: Path, command: str) -> None:
    file, log = task.parent / "kernel.py", task.parent / "log.txt"
    file.write_text(kernel())
    words = ["run", f"task={task}", f"run.dir={task.parent / 'run'}"] if command == "run" else ["evaluate", task, file]
    with begun(log, *map(str, words)) as process:
        wait_for(process, lambda: "libtorch" in Path(f"/proc/{process.pid}/maps").read_text())
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 130
    assert log.read_text() == "kernelevolve: interrupted\n"


@pytest.mark.thorough
@pytest.mark.slow
def test_a_judge_that_keeps_dying_ends_a_run_in_one_line(task: Path) -> None:
    folder, log = task.parent / "run", task.parent / "log.txt"
    words = [f"task={task}", f"run.dir={folder}", "budget.seconds=100", "evaluation.cache=off", "evaluation.retries=0"]
    with begun(log, "run", *words, "--quiet") as process:
        wait_for(process, lambda: len(_nodes(folder)) >= 1)
        while process.poll() is None:
            for child in psutil.Process(process.pid).children(recursive=True):
                with suppress(psutil.Error):
                    if (child.cmdline() or [""])[0].startswith("ray::EvaluationWorker"):
                        child.kill()
            time.sleep(0.2)
        assert process.returncode == 2
    last = log.read_text().splitlines()[-1]
    assert last.startswith("kernelevolve: the process that evaluates dies while it evaluates: ")
    assert "`kernelevolve resume`" in last
    assert "Traceback" not in log.read_text()


@contextmanager
def begun(log: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command in a process group of its own, as a terminal starts it."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "kernelevolve", *words],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def wait_for(process: subprocess.Popen[bytes], there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 200
    while not there() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.thorough
def test_a_killed_run_goes_on_without_repeating_and_an_interrupted_one_says_how_to_go_on(task: Path) -> None:
    """Ctrl-C reaches the whole foreground process group, Ray's processes included."""
    folder, log = task.parent / "run", task.parent / "log.txt"
    with begun(log, "run", f"task={task}", f"run.dir={folder}", "budget.seconds=100", "evaluation.cache=off") as run:
        wait_for(run, lambda: len(_nodes(folder)) >= 3)
        run.kill()
    before = _nodes(folder)
    assert len(before) >= 3
    with begun(log, "resume", str(folder), "budget.seconds=200") as more:
        # The search goes on once it tells how far it is; until then what was killed may have left its last nodes.
        wait_for(more, lambda: "evaluations/s" in log.read_text())
        there = len(_nodes(folder))
        wait_for(more, lambda: len(_nodes(folder)) >= there + 2)
        os.killpg(more.pid, signal.SIGINT)
        assert more.wait(150) == 130
    said = log.read_text()
    assert said.splitlines()[-1] == f"interrupted; `kernelevolve resume {folder}` continues the run"
    assert "Traceback" not in said
    summary = json.loads((folder / "run.json").read_text())
    after = _nodes(folder)
    assert summary["state"] == "interrupted"
    assert summary["nodes"] == len(after) >= there + 2
    assert before.items() <= after.items()
    assert sum(summary["evaluations"].values()) == len(set(after.values()))
    if summary["best"] is not None:
        assert summary["best"]["measured"] == "search"
        assert (folder / "best" / "kernel.py").exists()


def _nodes(folder: Path) -> dict[str, str]:
    """Kernels by node."""
    try:
        with sqlite3.connect(f"file:{folder / 'graph.sqlite'}?mode=ro", uri=True) as connection:
            return dict(connection.execute("select id, kernel from nodes").fetchall())
    except sqlite3.Error:
        return {}


def test_a_process_that_is_gone_is_one_line_and_what_it_raised_is_not() -> None:
    line = _lost_process(OutOfMemoryError("the node was short of memory"))
    assert "is there memory left" in line
    assert "short of memory" in line
    assert _lost_process(RayTaskError("work", "a traceback", ValueError("a bug"))) == ""
    assert _lost_process(ValueError("a bug")) == ""
