"""`Operator.prepare` in a process of its own, which begins before Ray is up: importing and tracing take seconds, or a minute."""

from __future__ import annotations

import ctypes
import gc
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import IO, Self

from kernelevolve.core.errors import UserError
from kernelevolve.core.helpers import module_command, python_path
from kernelevolve.core.task import Task
from kernelevolve.synthesis.base import Operator

_PR_SET_PDEATHSIG = 1
_GLANCE_SECONDS = 0.25
_EARLY_PROCESSOR_SECONDS = 10.0
_EARLY_SECONDS = 20.0
"""After so much of either, what `Operator.early` gives is told, and preparing goes on."""


class Preparing:
    """Begins on entering; leaving ends the process. What the task's code prints is dropped."""

    def __init__(self, operator: Operator, task: Task) -> None:
        self._arguments = operator, task
        self._process: subprocess.Popen[bytes] | None = None
        self._prepared: Operator | None = None
        self._told = b""

    def __enter__(self) -> Self:
        operator = self._arguments[0]
        if type(operator).prepare is not Operator.prepare:
            self._errors = tempfile.TemporaryFile()
            self._process = subprocess.Popen(
                module_command(__name__),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env={**os.environ, "PYTHONPATH": python_path(), "OMP_NUM_THREADS": "1"},
                start_new_session=True,  # Ctrl-C is for the driver, which ends this one.
            )
            assert self._process.stdin is not None
            self._process.stdin.write(pickle.dumps(self._arguments))
            self._process.stdin.close()
            self._process.stdin = None
            self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
            self._reader.start()
        else:
            self._prepared = operator
        return self

    def _read(self, pipe: IO[bytes]) -> None:
        self._told = pipe.read()

    def result(self, check: Callable[[], None]) -> Operator:
        """The prepared operator, or the early one where preparing takes long; it then goes on until this is left.

        `check` is called now and then meanwhile; what it raises ends the waiting.

        Raises UserError where the task cannot be served, RuntimeError where the process fails.
        """
        while self._prepared is None:
            check()
            self._look(_GLANCE_SECONDS)
        return self._prepared

    def raise_early(self) -> None:
        """Raises what `result` would, where that is known by now."""
        self._look(0.0)

    def _look(self, seconds: float) -> None:
        """Take what the process has told, if it does within so many seconds."""
        if self._process is None or self._prepared is not None:
            return
        self._reader.join(seconds)
        if self._reader.is_alive():
            return
        if not self._told:
            code = self._process.wait()
            self._errors.seek(0)
            words = self._errors.read().decode(errors="replace").strip() or f"exit code {code}"
            raise RuntimeError(f"preparing the operator failed:\n{words}")
        found = pickle.loads(self._told)
        if isinstance(found, UserError):
            raise found
        assert isinstance(found, Operator)
        self._prepared = found

    def end(self) -> None:
        """Nobody waits for it any more: what is measured afterwards has the processors to itself."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            self._reader.join()
            if process.stdout is not None:
                process.stdout.close()
            self._errors.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()


class _Answer:
    """What the other process gets to know: the first of what is told."""

    def __init__(self, channel: int) -> None:
        self._channel = channel
        self._lock = threading.Lock()
        self._is_told = False

    def tell(self, found: Operator | UserError) -> None:
        with self._lock:
            if not self._is_told:
                self._is_told = True
                with os.fdopen(self._channel, "wb") as file:
                    file.write(pickle.dumps(found))


def _tell_early(answer: _Answer, done: threading.Event, operator: Operator, task: Task) -> None:
    begin = time.monotonic()
    while not done.wait(_GLANCE_SECONDS):
        if time.process_time() > _EARLY_PROCESSOR_SECONDS or time.monotonic() - begin > _EARLY_SECONDS:
            early = operator.early(task)
            if early is not None:
                answer.tell(early)
            return


def main() -> None:
    gc.disable()  # This process is short: it would only look through PyTorch's modules again and again.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    operator, task = pickle.load(sys.stdin.buffer)
    answer, done = _Answer(os.dup(1)), threading.Event()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    threading.Thread(target=_tell_early, args=(answer, done, operator, task), daemon=True).start()
    try:
        answer.tell(operator.prepare(task))
    except UserError as error:
        answer.tell(error)
    done.set()


if __name__ == "__main__":
    main()
