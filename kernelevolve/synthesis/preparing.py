"""`Operator.prepare` in a process of its own, which begins before Ray is up: importing and tracing take seconds of one core."""

from __future__ import annotations

import ctypes
import gc
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from kernelevolve.core.errors import UserError
from kernelevolve.core.task import Task
from kernelevolve.synthesis.base import Operator

_ROOT = Path(__file__).parents[2]
_PR_SET_PDEATHSIG = 1
_GLANCE_SECONDS = 0.25


class Preparing:
    """Begins on entering; leaving ends the process. What the task's code prints is dropped."""

    def __init__(self, operator: Operator, task: Task, device: str) -> None:
        self._arguments = operator, task, device
        self._process: subprocess.Popen[bytes] | None = None
        self._prepared: Operator | None = None

    def __enter__(self) -> Self:
        operator = self._arguments[0]
        if type(operator).prepare is not Operator.prepare:
            path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
                start_new_session=True,  # Ctrl-C is for the driver, which ends this one.
            )
            assert self._process.stdin is not None
            self._process.stdin.write(pickle.dumps(self._arguments))
            self._process.stdin.close()
            self._process.stdin = None
        else:
            self._prepared = operator
        return self

    def result(self, check: Callable[[], None]) -> Operator:
        """The prepared operator. `check` is called now and then meanwhile; what it raises ends the waiting.

        Raises UserError where the task cannot be served, RuntimeError where the process fails.
        """
        while self._prepared is None:
            check()
            self._look(_GLANCE_SECONDS)
        return self._prepared

    def raise_early(self) -> None:
        """Raises what `result` would, where that is known by now."""
        if self._process is not None and self._process.poll() is not None:
            self._look(_GLANCE_SECONDS)

    def _look(self, seconds: float) -> None:
        """Take what the process has told, if it ends within so many seconds."""
        if self._process is None or self._prepared is not None:
            return
        try:
            out, err = self._process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            return
        if self._process.returncode:
            words = err.decode(errors="replace").strip() or f"exit code {self._process.returncode}"
            raise RuntimeError(f"preparing the operator failed:\n{words}")
        found = pickle.loads(out)
        if isinstance(found, UserError):
            raise found
        assert isinstance(found, Operator)
        self._prepared = found

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdout, self._process.stderr):
                if pipe is not None:
                    pipe.close()


def main() -> None:
    gc.disable()  # This process is short: it would only look through PyTorch's modules again and again.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    operator, task, device = pickle.load(sys.stdin.buffer)
    channel = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    found: Operator | UserError
    try:
        found = operator.prepare(task, device)
    except UserError as error:
        found = error
    with os.fdopen(channel, "wb") as file:
        file.write(pickle.dumps(found))


if __name__ == "__main__":
    main()
