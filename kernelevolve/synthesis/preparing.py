"""Runs `Operator.prepare` in a separate process while Ray starts: importing and tracing take up to a minute."""

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

from kernelevolve.core.child_process import module_command, python_path
from kernelevolve.core.errors import UserError
from kernelevolve.core.task import Task
from kernelevolve.synthesis.background import BackgroundWork
from kernelevolve.synthesis.base import Operator

_PR_SET_PDEATHSIG = 1
_POLL_SECONDS = 0.25
_EARLY_PROCESSOR_SECONDS = 10.0
"""The processor seconds after which the process returns `Operator.provisional`."""
_EARLY_SECONDS = 20.0
"""The wall-clock seconds after which the process returns `Operator.provisional`."""


class Preparing:
    """Prepares an operator for a task in a separate process, as a context manager.

    Entering starts the process and leaving ends it. What the code of the task prints is discarded.
    """

    def __init__(self, operator: Operator, task: Task) -> None:
        self._arguments = operator, task
        self._process: subprocess.Popen[bytes] | None = None
        self._prepared: Operator | None = None
        self._reply = b""
        self._background: BackgroundWork | None = None

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
                start_new_session=True,  # Ctrl-C goes to the driver alone, which then ends this process.
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
        self._reply = pipe.read()

    def result(self, check: Callable[[], None]) -> Operator:
        """Wait for the operator: the prepared one, or the early one if preparing takes long.

        Args:
            check: Called several times a second while waiting. An exception that it raises ends the wait.

        Raises:
            UserError: The operator cannot serve the task.
            RuntimeError: The process failed.
        """
        while self._prepared is None:
            check()
            self._poll(_POLL_SECONDS)
        return self._prepared

    def raise_early(self) -> None:
        """Raise the error that `result` would raise, if preparing has already failed."""
        self._poll(0.0)

    def _poll(self, seconds: float) -> None:
        """Read the reply of the process, if it arrives within the given seconds."""
        if self._process is None or self._prepared is not None:
            return
        self._reader.join(seconds)
        if self._reader.is_alive():
            return
        if not self._reply:
            code = self._process.wait()
            self._errors.seek(0)
            words = self._errors.read().decode(errors="replace").strip() or f"exit code {code}"
            raise RuntimeError(f"preparing the operator failed:\n{words}")
        reply = pickle.loads(self._reply)
        if isinstance(reply, UserError):
            raise reply
        assert isinstance(reply, Operator)
        self._prepared = reply
        if self._process.poll() is None:
            # It goes on with what the search will take later; evaluations come first.
            self._background = BackgroundWork(self._process.pid)

    def end(self) -> None:
        """End the process, so that it does not disturb the measurements that follow."""
        process, self._process = self._process, None
        background, self._background = self._background, None
        if background is not None:
            background.end()
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


class _Reply:
    """The reply to the parent process. Only the first call of `send` writes one."""

    def __init__(self, channel: int) -> None:
        self._channel = channel
        self._lock = threading.Lock()
        self._sent = False

    def send(self, reply: Operator | UserError) -> None:
        with self._lock:
            if not self._sent:
                self._sent = True
                with os.fdopen(self._channel, "wb") as file:
                    file.write(pickle.dumps(reply))


def _send_early(reply: _Reply, done: threading.Event, operator: Operator, task: Task) -> None:
    begin = time.monotonic()
    while not done.wait(_POLL_SECONDS):
        if time.process_time() > _EARLY_PROCESSOR_SECONDS or time.monotonic() - begin > _EARLY_SECONDS:
            early = operator.provisional(task)
            if early is not None:
                reply.send(early)
            return


def main() -> None:
    """Read an operator and a task from stdin, prepare the operator, and write the reply to stdout."""
    gc.disable()  # The process is short-lived, and each collection would scan all of PyTorch's modules.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    operator, task = pickle.load(sys.stdin.buffer)
    reply, done = _Reply(os.dup(1)), threading.Event()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    threading.Thread(target=_send_early, args=(reply, done, operator, task), daemon=True).start()
    try:
        reply.send(operator.prepare(task))
    except UserError as error:
        reply.send(error)
    done.set()


if __name__ == "__main__":
    main()
