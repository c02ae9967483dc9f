"""A process that has torch imported and forks players: no interpreter start, no import per kernel.

A player is a child that holds one implementation of a task: the reference, what torch.compile makes of it, a candidate. The server
runs none of them and no tensor operation and no thread itself, so that forking it is safe. It is the warden of the players: each is
in a session of its own, with limits, in a scrubbed environment, and is stopped (SIGSTOP, with all of its threads) whenever it is not
its turn; when it ends or its time is up, everything that descends from it is killed. And it is the timekeeper: a timed block runs
from the moment that the player is let go to the moment that it says it is done, by the server's clock, which no player can reach.

The worker on the other end of the socket gives orders as lines of JSON, see `client.py`.
"""

from __future__ import annotations

import contextlib
import gc
import json
import mmap
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from evaluators.runtime.cpu import huge_pages as hugepages
from evaluators.runtime.cpu.child import (
    ARENA,
    CHANNEL,
    PR_SET_PDEATHSIG,
    PR_SET_TIMERSLACK,
    Child,
    become_runner,
    become_subreaper,
    prctl,
)
from evaluators.runtime.cpu.noise import Moment, await_idle, lost, moment, others_running, threads_of
from evaluators.sandbox import seccomp
from evaluators.sandbox.limits import Limits
from evaluators.sandbox.usage import Allowance, excess, private_bytes
from evaluators.scratch import remove_tree

_PIPE_READS = 32
"""More than a pipe holds when its writers are dead."""
_REPLY_BYTES = 4 << 20
"""The longest reply of a player; a longer one is cut, so that it is none."""
_LAST_MILLISECONDS = 200
_NO_SLACK = 1
"""Nanoseconds that a sleep of the server may take longer."""
_GLANCE_NANOSECONDS = 20_000_000
"""That a player runs between two looks at what it holds: time to take some ten megabytes;"""
_TIMED_GLANCE_NANOSECONDS = 250_000_000
"""in a timed block, which a look makes longer by some 0.1 ms."""
_LOST_SHARE = 0.9
"""Of the time of an order, that may have been lost to others: its limit is at most ten times as long."""
KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "CXX", "OMP_NUM_THREADS", "TZ", "PYTHONPATH")
_CLOCK = time.perf_counter_ns
READY = '{"calls"'
"""How the reply of a player begins that is ready for a timed block. One that lies about it harms itself alone."""
_UNKNOWN = {"timeout": False, "excess": None, "signal": 0, "code": -1, "output": "", "peak_bytes": 0}
"""The end of a player that nobody has seen."""


class _WorkerGoneError(Exception):
    """Nobody gives orders any more."""


def _mapped(memory: int) -> mmap.mmap:
    """Shared memory that processes forked from now on do not have."""
    found = mmap.mmap(memory, os.fstat(memory).st_size)
    found.madvise(mmap.MADV_DONTFORK)
    return found


class _Server:
    def __init__(self, worker: socket.socket, interruption: int, home: dict[str, str]) -> None:
        """`interruption`: a descriptor that is readable while nobody wants what players are at."""
        self._worker = worker
        self._interruption = interruption
        self._home = home
        self._processes: dict[int, Child] = {}
        self._unburied: list[Child] = []
        """Killed, with nobody waiting for it: buried once the order is answered."""
        self._cores = sorted(os.sched_getaffinity(0))
        self._stage = mmap.mmap(-1, mmap.PAGESIZE)
        self._held_bytes = private_bytes()
        self._collapsing = hugepages.collapsing()
        # Where the players' main threads begin their blocks: the core is free when one says that it is done.
        os.sched_setaffinity(0, self._cores[:1])

    def serve(self) -> None:
        """Until the worker has gone."""
        pending = bytearray()
        try:
            while True:
                message, fds, _, _ = socket.recv_fds(self._worker, 1 << 16, 1)
                if not message:
                    return
                pending += message
                while not pending.endswith(b"\n"):
                    more = self._worker.recv(1 << 20)
                    if not more:
                        return
                    pending += more
                order = json.loads(pending)
                pending.clear()
                answer = self._obey(order, fds)
                for fd in fds:
                    os.close(fd)
                self._worker.sendall(json.dumps(answer).encode() + b"\n")
                if self._unburied:
                    self._bury(self._unburied.pop())
                    next(self._collapsing, None)
        except (_WorkerGoneError, ConnectionError):
            return
        finally:
            for process in list(self._processes.values()):
                self._bury(process)

    def _obey(self, order: dict[str, Any], fds: list[int]) -> dict[str, Any]:
        if order["op"] == "spawn":
            return self._spawn(order, fds[0])
        if order["op"] == "rest":
            return {}
        if order["op"] == "stage":
            self._stage = _mapped(fds[0])
            return {}
        if order["op"] == "round":
            return {"blocks": [self._timed(block) for block in order["blocks"]]}
        process = self._processes.get(order["process"])
        if process is None:
            return {} if order["op"] == "end" else {"ended": _UNKNOWN}
        if order["op"] == "ask":
            return self._ask(process, order["message"], order["limit"], placed=order["placed"])
        if order["op"] == "end":
            process.kill()
            self._unburied.append(process)
            return {}
        raise ValueError(order["op"])

    def _spawn(self, order: dict[str, Any], arena: int) -> dict[str, Any]:
        limits = Limits.model_validate(order["limits"])
        ours, theirs = socket.socketpair()
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        pid = os.fork()
        if pid == 0:
            code = 70
            try:
                os.sched_setaffinity(0, self._cores)
                become_runner(order, limits, self._home, writing, theirs.fileno(), arena)
                from evaluators.runtime.cpu.runner_main import serve
                from evaluators.sandbox.confinement import confine_candidate

                if order["confined"]:
                    confine_candidate(Path(order["folder"]), order["readable"])
                    if seccomp.supported():
                        seccomp.confine_calls()
                serve(CHANNEL, ARENA)
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
        theirs.close()
        allowance = None if order["allowance"] is None else Allowance.model_validate(order["allowance"])
        process = Child(pid, ours, reading, order["folder"], allowance, _mapped(arena))
        process.poll.register(ours, select.POLLIN)
        process.poll.register(reading, select.POLLIN)
        process.poll.register(self._worker, select.POLLHUP | select.POLLRDHUP)
        process.poll.register(self._interruption, select.POLLIN)
        self._processes[pid] = process
        return {"process": pid}

    def _timed(self, block: dict[str, Any]) -> dict[str, Any]:
        """Have a process prepare for a block; then, while it stands still, give it the values on the stage; then run the block.

        Before all that, wait for the machine to be idle, so many seconds at most.
        """
        process = self._processes.get(block["process"])
        if process is None:
            return {"ended": _UNKNOWN}
        idle = await_idle(block["patience"]) if block["patience"] > 0 else None
        begin = _CLOCK()
        answer = self._ask(process, block["message"], block["limit"], placed=True)
        if answer.get("reply", "").startswith(READY):
            values = slice(*block["staged"])
            memoryview(process.arena)[values] = memoryview(self._stage)[values]
            answer |= self._block(process, begin + int(block["limit"] * 1e9))
        return {**answer, "spent_nanoseconds": _CLOCK() - begin, "idle": idle}

    def _ask(self, process: Child, message: dict[str, Any], limit: float, *, placed: bool) -> dict[str, Any]:
        """Let it carry out one order; it stands still afterwards."""
        threads = process.place(self._cores) if placed else []
        process.go()
        deadline = _CLOCK() + int(limit * 1e9)
        process.channel.settimeout(max(limit, 1e-3))
        try:
            process.channel.sendall(json.dumps(message).encode() + b"\n")
        except TimeoutError:
            return {"ended": self._end(process, timeout=True)}
        except OSError:
            return {"ended": self._lost(process)}
        process.free(threads, self._cores)
        began = moment(process.pid, threads_of(process.pid))
        reply = self._reply(process, deadline, spare=lambda: self._kept_waiting(process, began))
        if isinstance(reply, dict):
            return {"ended": reply}
        waited = self._kept_waiting(process, began)
        if not process.halt():
            return {"ended": self._end(process, timeout=True)}
        return {"reply": reply, "lost_nanoseconds": waited}

    def _kept_waiting(self, process: Child, began: Moment) -> int:
        """Nanoseconds since then that others kept a player from its cores; a limit is longer by them, up to some times itself."""
        now = moment(process.pid, threads_of(process.pid))
        return min(lost(began, now, len(self._cores), 0), int(_LOST_SHARE * (now.clock - began.clock)))

    def _block(self, process: Child, deadline: int) -> dict[str, Any]:
        """Let a prepared player run its calls, on the clock."""
        threads = process.place(self._cores)
        try:
            process.channel.send(b"\n")
        except OSError:
            return {"ended": self._lost(process)}
        others = others_running()
        before = moment(process.pid, threads)
        begin = _CLOCK()
        process.go()
        process.free(threads, self._cores)
        reply = self._reply(process, deadline, _TIMED_GLANCE_NANOSECONDS)
        end = _CLOCK()
        if isinstance(reply, dict):
            return {"ended": reply}
        after = moment(process.pid, threads)
        if not process.halt():
            return {"ended": self._end(process, timeout=True)}
        later = others_running()
        seen = None if others is None or later is None else max(others, later)
        return {
            "report": reply,
            "nanoseconds": end - begin,
            "lost_nanoseconds": lost(before, after, len(self._cores), seen),
            "others": seen,
        }

    def _reply(
        self,
        process: Child,
        deadline: int,
        glance: int = _GLANCE_NANOSECONDS,
        spare: Callable[[], int] = lambda: 0,
    ) -> str | dict[str, Any]:
        """A line of the player's, without its end; or how it ended. `glance`: nanoseconds between two looks at what it holds; `spare`: by
        how many the deadline is later than it was, as far as is known by now."""
        told, first = bytearray(), deadline
        seen = _CLOCK() - min(process.unseen, _GLANCE_NANOSECONDS)
        while True:
            now = _CLOCK()
            if now >= deadline:
                deadline = first + spare()
                if now >= deadline:
                    return self._end(process, timeout=True)
            if now >= seen + glance:
                found = self._excess(process)
                if found is not None:
                    return self._end(process, timeout=False, excess=found)
                seen = _CLOCK()
            process.unseen = now - seen
            for fd, _ in process.poll.poll((min(deadline, seen + glance) - now) / 1e6 + 1):
                if fd == process.channel.fileno():
                    try:
                        part = process.channel.recv(1 << 16)
                    except ConnectionError:
                        part = b""
                    if not part:
                        return self._lost(process)
                    told += part
                    if part.endswith(b"\n") or len(told) > _REPLY_BYTES:
                        process.unseen = _CLOCK() - seen
                        return told[:_REPLY_BYTES].decode(errors="replace").rstrip("\n")
                elif fd == process.output:
                    if not process.drain():
                        process.poll.unregister(process.output)
                elif fd == self._interruption:
                    return self._end(process, timeout=False)
                else:
                    raise _WorkerGoneError

    def _excess(self, process: Child) -> str | None:
        if process.allowance is None:
            return None
        return excess(process.pid, process.folder, process.allowance, self._held_bytes)

    def _end(self, process: Child, *, timeout: bool, excess: str | None = None) -> dict[str, Any]:
        """Kill it, with whatever descends from it, and tell how it ended. `excess`: what it had too much of."""
        status, peak = self._bury(process)
        return {
            "output": process.told.decode(errors="replace"),
            "timeout": timeout,
            "excess": excess,
            "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0,
            "code": os.WEXITSTATUS(status) if os.WIFEXITED(status) else -1,
            "peak_bytes": peak,
        }

    def _lost(self, process: Child) -> dict[str, Any]:
        """How a player ended that has closed its channel: one on its way out has a moment to get there by itself."""
        handle = os.pidfd_open(process.pid)
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        poll.poll(_LAST_MILLISECONDS)
        os.close(handle)
        return self._end(process, timeout=False)

    def _bury(self, process: Child) -> tuple[int, int]:
        """(wait status, most memory in bytes)"""
        process.kill()
        _, status, usage = os.wait4(process.pid, 0)
        del self._processes[process.pid]
        self._clear(process.pid)
        process.channel.close()
        process.arena.close()
        for _ in range(_PIPE_READS):
            if not process.drain():
                break
        os.close(process.output)
        remove_tree(Path(process.folder))
        return status, usage.ru_maxrss << 10

    def _clear(self, group: int) -> None:
        """Kill whatever escaped from a dead player, until nothing is left but the other players."""
        deadline = time.monotonic() + 5.0
        while time.monotonic() < deadline:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)
            left = [pid for pid in _children() if pid not in self._processes]
            if not left:
                return
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
            time.sleep(0.001)


def _children() -> list[int]:
    """Of this process; orphans of a player become that, since the server is their subreaper."""
    try:
        text = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    except OSError:
        return []
    return [int(p) for p in text.split()]


def main() -> None:
    worker, interruption = socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2])
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    become_subreaper()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})  # It is waited for where it matters.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    home = {k: v for k, v in os.environ.items() if k in KEPT_VARIABLES}
    gc.disable()  # Importing leaves next to nothing to collect, and looking through it all takes a fifth of the time.
    with hugepages.huge_heap():
        import evaluators.runtime.cpu.runner_main  # With torch: players inherit it.
        import evaluators.sandbox.confinement
        from evaluators.sandbox import aten

        aten.kernels()
        seccomp.prepare()
        evaluators.sandbox.confinement.readable_paths()
    prctl(PR_SET_TIMERSLACK, _NO_SLACK)
    gc.collect()
    gc.freeze()
    gc.enable()
    worker.sendall(b"{}\n")
    _Server(worker, interruption, home).serve()


if __name__ == "__main__":
    main()
