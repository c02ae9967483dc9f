"""A process that has torch imported and forks a child for each job: no interpreter start, no import per kernel.

The server itself runs no kernel, no tensor operation and no thread, so that forking it is safe. It is told jobs as lines of JSON on
a socket and answers how each child ended and the end of what it printed; results travel as files in the job's folder. A child runs
in a session of its own, with limits, in a scrubbed environment; when it ends or its time is up, everything that descends from it is
killed. A job may have stages, each with a time limit of its own; the last one begins when the worker says so, which waits for the
gate meanwhile.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import resource
import select
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

from evaluators.stages import StageClock

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_OUTPUT_BYTES = 1 << 16
_PIPE_READS = 32
"""More than a pipe holds when its writers are dead."""
KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "CXX", "OMP_NUM_THREADS", "TZ", "PYTHONPATH")


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def _data_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) << 10
    return 0


def _limit(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    ceiling = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (ceiling, ceiling))


def _become_child(job: dict[str, Any], home: dict[str, str], output: int, clock: StageClock) -> None:
    """Everything that sets a child apart, before it runs foreign code."""
    os.setsid()
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    folder = job["folder"]
    os.chdir(folder)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    clock.become_child()
    os.environ.clear()
    os.environ.update(home)
    os.environ.update({"HOME": folder, "TMPDIR": folder, **job["environment"]})
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_DATA, _data_bytes() + int(job["memory_bytes"]))
    _limit(resource.RLIMIT_CPU, int(clock.total * (os.cpu_count() or 1)) + 10)
    _limit(resource.RLIMIT_FSIZE, int(job["memory_bytes"]))


def _descendants() -> list[int]:
    """Living children of this process; orphans of a job become that, since the server is their subreaper."""
    try:
        text = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    except OSError:
        return []
    return [int(p) for p in text.split()]


def _clear(group: int) -> None:
    """Kill a job's session and whatever escaped from it, until nothing is left."""
    deadline = time.monotonic() + 5.0
    while time.monotonic() < deadline:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
        left = _descendants()
        if not left:
            return
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.001)


def _drain(pipe: int, told: bytearray) -> bool:
    """Take some of what a child has printed and keep the last of all. False where there is nothing."""
    try:
        part = os.read(pipe, 1 << 16)
    except BlockingIOError:
        return False
    told += part
    del told[:-_OUTPUT_BYTES]
    return bool(part)


def _run(job: dict[str, Any], home: dict[str, str], channel: socket.socket, lines: Any) -> dict[str, Any] | None:
    """Fork, wait, clear up. None when the worker has gone."""
    clock = StageClock(job["limits"])
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            _become_child(job, home, writing, clock)
            from evaluators.child import run_job
            from evaluators.confinement import confine_candidate

            if job["confined"]:
                confine_candidate(Path(job["folder"]), job["readable"])

            run_job(job)
            code = 0
        except MemoryError:
            code = 71
        except BaseException:  # noqa: BLE001 - the border to foreign code: the child must not return into the server
            import traceback

            traceback.print_exc()
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)
    os.close(writing)
    clock.become_parent()
    handle = os.pidfd_open(pid)
    told = bytearray()
    ended, gone = False, False
    try:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        poll.register(reading, select.POLLIN)
        poll.register(clock.done, select.POLLIN)
        poll.register(channel, select.POLLHUP | select.POLLRDHUP)
        while not ended and not gone:
            left = clock.left
            if left <= 0:
                break
            for fd, _ in poll.poll(left * 1000 + 1):
                ended = ended or fd == handle
                gone = gone or fd == channel.fileno()
                if fd == reading and not _drain(reading, told):
                    poll.unregister(reading)
                if fd == clock.done:
                    if os.read(fd, 1):
                        gone = gone or not clock.advance(channel, lines)
                    else:
                        poll.unregister(fd)
    finally:
        os.close(handle)
        clock.close()
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    _, status, usage = os.wait4(pid, 0)
    _clear(pid)
    for _ in range(_PIPE_READS):
        if not _drain(reading, told):
            break
    os.close(reading)
    if gone:
        return None
    return {
        "output": told.decode(errors="replace"),
        "timeout": not ended,
        "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0,
        "code": os.WEXITSTATUS(status) if os.WIFEXITED(status) else -1,
        "stage": clock.stage,
        "seconds": clock.seconds,
        "peak_bytes": usage.ru_maxrss << 10,
    }


def main() -> None:
    channel = socket.socket(fileno=int(sys.argv[1]))
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    home = {k: v for k, v in os.environ.items() if k in KEPT_VARIABLES}
    import evaluators.child  # with torch: children inherit it
    import evaluators.confinement  # noqa: F401

    gc.collect()
    gc.freeze()
    lines = channel.makefile("r")
    channel.sendall(b"{}\n")
    for line in lines:
        answer = _run(json.loads(line), home, channel, lines)
        if answer is None:
            return
        channel.sendall(json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    main()
