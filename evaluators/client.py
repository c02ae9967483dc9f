"""The worker's end of a fork server."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

from evaluators.forkserver import KEPT_VARIABLES
from evaluators.gate import Gate
from evaluators.scratch import disk_errors, scratch_base, wait_for_room

_ROOT = Path(__file__).resolve().parent.parent
_SIGNALS = {
    4: "SIGILL",
    6: "SIGABRT",
    7: "SIGBUS",
    8: "SIGFPE",
    9: "SIGKILL",
    11: "SIGSEGV",
    24: "SIGXCPU",
    25: "SIGXFSZ",
}


_STEADY_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40)}
"""glibc keeps what was freed, as a caching allocator does: else both sides of a ratio are page faults more than work."""


class ServerDiedError(RuntimeError):
    """The fork server is gone: our failure, or that of the machine."""


class InterruptedJobError(RuntimeError):
    """Nobody waits for the job any more."""


@dataclass(frozen=True)
class Outcome:
    """How a child ended. `folder` holds what it wrote, until the job's context is left."""

    folder: Path
    timeout: bool
    signal: int
    code: int
    stage: int
    """The one that it ended in, from 0 on."""
    seconds: float
    """Spent in that stage."""
    output: str
    result: Mapping[str, Any] | None
    """What the job reported, None where it did not come to that."""

    @property
    def out_of_memory(self) -> bool:
        told = self.output[-4000:]
        marks = ("bad_alloc", "MemoryError", "can't allocate memory", "Cannot allocate memory", "failed to map segment")
        return self.code == 71 or (self.result is None and any(m in told for m in marks))

    @property
    def signal_name(self) -> str:
        return _SIGNALS.get(self.signal, f"signal {self.signal}")


@dataclass(frozen=True)
class Stages:
    """What follows a job's first stage."""

    seconds: tuple[float, ...]
    """A limit for each further stage."""
    gate: Gate
    """Held exclusively in the last one."""
    shared: bool = False
    """Whether the gate is shared in those before the last."""


class Job:
    """A folder for one child, removed at the end."""

    def __init__(self, base: Path) -> None:
        with disk_errors(base, "a job's files"):
            self.folder = Path(tempfile.mkdtemp(prefix="job-", dir=base))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


class ForkServer:
    """Starts the server when it is first needed, and again after it died."""

    def __init__(self, *, threads: int, confined: bool, readable: Sequence[str] = ()) -> None:
        """`threads`: of OpenMP and torch. `confined`: keep candidates from all files but what they need and `readable`.

        Raises UserError where there is no room for a folder of its own.
        """
        self._threads = threads
        self._confined = confined
        self._readable = tuple(readable)
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._lines: Any = None
        self.interrupted = False
        """Until this is set back, jobs raise InterruptedJobError."""
        with disk_errors(scratch_base(), "a folder"):
            self._base = Path(tempfile.mkdtemp(prefix="kernelevolve-", dir=scratch_base()))

    def start(self) -> None:
        """Begin starting; the first job waits until it is there."""
        if self._process is not None and self._process.poll() is None:
            return
        ours, theirs = socket.socketpair()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "evaluators.forkserver", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            cwd=_ROOT,
            env=self._environment(),
            start_new_session=True,
        )
        theirs.close()
        self._channel, self._lines = ours, None

    def _environment(self) -> dict[str, str]:
        """None of the user's keys; as many threads as were asked for, where Ray tells its workers to use one."""
        kept = {k: v for k, v in os.environ.items() if k in KEPT_VARIABLES}
        return {**kept, **_STEADY_MEMORY, "OMP_NUM_THREADS": str(self._threads)}

    def job(self) -> Job:
        """Raises UserError where there is no room for it."""
        return Job(self._base)

    def wait_for_room(self, need: int, patience: float) -> None:
        """For the files of a job. Raises UserError as `scratch.wait_for_room` does."""
        wait_for_room(self._base, need, "the outputs of a kernel", patience)

    def run(
        self,
        job: Job,
        kind: str,
        payload: Mapping[str, Any],
        *,
        timeout: float,
        memory_gb: float,
        environment: Mapping[str, str],
        then: Stages | None = None,
    ) -> Outcome:
        """Run a job of `evaluators.child` in a fresh child; `timeout` holds for its first stage.

        Raises ServerDiedError, and InterruptedJobError where `interrupt` was called.
        """
        self.start()
        if self.interrupted:
            raise InterruptedJobError
        if self._channel is None:
            raise ServerDiedError("no channel to the fork server")
        request = {
            "kind": kind,
            "folder": str(job.folder),
            "limits": [timeout, *(then.seconds if then else ())],
            "memory_bytes": int(memory_gb * (1 << 30)),
            "environment": dict(environment),
            # What computes the reference is the user's own code, and what it computes is not there yet.
            "confined": self._confined and kind != "reference",
            "readable": [
                *self._readable,
                *filter(os.path.isabs, (str(payload.get("data", "")), *environment.values())),
            ],
            "payload": dict(payload),
        }
        try:
            if self._lines is None:
                self._lines = self._channel.makefile("r")
                if not self._lines.readline():
                    raise ServerDiedError("the fork server did not start")
            with then.gate.shared() if then is not None and then.shared else nullcontext():
                self._channel.sendall(json.dumps(request).encode() + b"\n")
                line = self._lines.readline()
            if then is not None and line and "ready" in json.loads(line):
                with then.gate.exclusive():
                    self._channel.sendall(b"\n")
                    line = self._lines.readline()
        except OSError as error:
            self._fail(str(error))
        if not line:
            self._fail("the fork server died")
        answer = json.loads(line)
        result = _json(job.folder / "result.json") if answer["code"] == 0 and not answer["timeout"] else None
        return Outcome(
            folder=job.folder,
            timeout=answer["timeout"],
            signal=answer["signal"],
            code=answer["code"],
            stage=answer["stage"],
            seconds=answer["seconds"],
            output=answer["output"],
            result=result,
        )

    def _fail(self, why: str) -> NoReturn:
        self.stop()
        raise InterruptedJobError if self.interrupted else ServerDiedError(why)

    def interrupt(self) -> None:
        """From another thread: end the job that runs, with its child."""
        self.interrupted = True
        channel = self._channel
        if channel is not None:
            with suppress(OSError):
                channel.shutdown(socket.SHUT_RDWR)

    def stop(self) -> None:
        if self._lines is not None:
            self._lines.close()  # It holds the socket too: the server would not see its end.
            self._lines = None
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(5)
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()
            self._process = None

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self._base, ignore_errors=True)


def _text(path: Path, most: int = 1 << 20) -> str:
    try:
        with path.open("rb") as handle:
            return handle.read(most).decode(errors="replace")
    except OSError:
        return ""


def _json(path: Path) -> Mapping[str, Any] | None:
    text = _text(path, 16 << 20)
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
