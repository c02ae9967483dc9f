"""A command that is tied to a process ends with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from kernelevolve.core.child_process import module_command, python_path

PARENT = """
import os, subprocess, sys, time
from kernelevolve.core.child_process import module_command
tied = module_command("kernelevolve.core.tied", str(os.getpid()))
child = subprocess.Popen([*tied, sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(60)"])
time.sleep(60)
"""


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_a_tied_command_is_killed_with_its_parent() -> None:
    environment = {**os.environ, "PYTHONPATH": python_path()}
    parent = subprocess.Popen([sys.executable, "-c", PARENT], env=environment, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert alive(child)
    parent.send_signal(signal.SIGKILL)
    parent.wait(10)
    deadline = time.monotonic() + 10
    while alive(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive(child)


def test_a_command_whose_parent_has_ended_does_not_start() -> None:
    command = [*module_command("kernelevolve.core.tied", "1"), sys.executable, "-c", "print('started')"]
    environment = {**os.environ, "PYTHONPATH": python_path()}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "started" not in done.stdout
