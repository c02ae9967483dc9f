"""`ray job submit` to a real cluster whose second machine joins and leaves while the job runs."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import pytest

from kernelevolve.core.errors import UserError
from kernelevolve.store.reader import GraphReader
from tests.packages import PACKAGES
from tests.small_task import QUICK, SOURCE

ROOT = Path(__file__).parents[2]
RAY = Path(sys.executable).parent / "ray"
ENVIRONMENT = {
    **{key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"},
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
}


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(what: str, is_there: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not is_there():
        assert time.monotonic() < end, f"{what} in {seconds} s"
        time.sleep(0.2)


@contextmanager
def ray_process(log: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """`ray start --block ...` with a folder and a port of its own, as machines have; it and what it started are gone afterwards."""
    temporary = Path(tempfile.mkdtemp(prefix="ke-", dir="/tmp"))  # Short: sockets lie in it.
    # Where the usual port is another Ray's, there is no agent, and no job is taken.
    own = ["--temp-dir", str(temporary), "--dashboard-agent-listen-port", str(free_port())]
    with log.open("wb") as file:
        process = subprocess.Popen(
            [str(RAY), "start", "--block", "--disable-usage-stats", *own, *words],
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**ENVIRONMENT, "RAY_worker_niceness": "0"},
            start_new_session=True,
        )
    try:
        yield process
    finally:
        leave(process)
        shutil.rmtree(temporary, ignore_errors=True)


def leave(process: subprocess.Popen[bytes]) -> None:
    """As a machine that is taken back: it is told to end, and has a moment for it."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(15)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def judged(run: Path) -> int:
    """Kernels in a run's folder."""
    try:
        with closing(GraphReader(run)) as reader:
            return len(reader.progress())
    except UserError:
        return 0


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as reply:
            return bool(reply.status == 200)
    except urllib.error.HTTPError:
        return True  # It wants a token.
    except OSError:
        return False


def submitted(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    """Once the cluster takes it: a head answers before it has an agent for jobs."""
    end = time.monotonic() + 60
    while True:
        with log.open("wb") as file:
            job = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=ENVIRONMENT)
        while job.poll() is None and b"submitted successfully" not in log.read_bytes():
            time.sleep(0.2)
        if job.poll() is None or b"No available agent" not in log.read_bytes() or time.monotonic() > end:
            return job
        time.sleep(1)


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.timeout(420)
def test_a_submitted_job_goes_on_while_machines_come_and_go(tmp_path: Path) -> None:
    checkout, run, task = tmp_path / "checkout", tmp_path / "run", tmp_path / "task.py"
    for name in (*PACKAGES, "conf"):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    task.write_text(SOURCE)
    port, dashboard = free_port(), free_port()
    address = f"http://127.0.0.1:{dashboard}"
    join = ("--address", f"127.0.0.1:{port}", "--num-cpus", "1")
    with ExitStack() as stack:
        start = ("--head", "--port", str(port), "--dashboard-port", str(dashboard), "--num-cpus", "1")
        stack.enter_context(ray_process(tmp_path / "head.log", *start, "--include-dashboard", "true"))
        wait_for("the head answers", lambda: answers(f"{address}/api/version"), 90)
        first = stack.enter_context(ray_process(tmp_path / "first.log", *join))
        submit = [str(RAY), "job", "submit", "--address", address, "--working-dir", str(checkout), "--"]
        settings = [f"task={task}", f"run.dir={run}", "budget.evaluations=9", "budget.seconds=240"]
        further = ["evaluation.workers=2", "evaluation.cache=off", *QUICK]
        log = tmp_path / "job.log"
        job = submitted([*submit, sys.executable, "-m", "kernelevolve", "run", *settings, *further], log)
        try:
            wait_for("the first kernels are judged", lambda: judged(run) >= 2 or job.poll() is not None, 150)
            leave(first)
            stack.enter_context(ray_process(tmp_path / "second.log", *join))
            assert job.wait(300) == 0, log.read_text(errors="replace")[-3000:]
        finally:
            job.kill()
            job.wait()
    told = json.loads((run / "run.json").read_text())
    assert sum(told["evaluations"].values()) == 9
    assert told["stop"] == "9 evaluations are done"
    assert told["best"]["not_measured"] or told["best"]["speedup"] > 0
    assert judged(run) == 9
    assert (run / "best" / "kernel.py").exists()
