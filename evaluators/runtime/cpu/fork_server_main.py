"""The fork server: a process with torch imported that forks runner processes, so that no kernel waits for an interpreter or an import.

A runner process holds one implementation of a task: the reference, the compiled reference or a candidate. The server itself runs none of
them, no tensor operation and no thread, so that forking it is safe.

It isolates the runner processes. Each has a session of its own, limits and a scrubbed environment, and is stopped (SIGSTOP, with all of
its threads) whenever it has no order to carry out. When it ends or its time is up, all of its descendants are killed.

It also measures time. A timed block lasts from the moment when the process is continued to the moment when it reports that it is done, by
the server's clock, which no runner process can reach.

The worker at the other end of the socket sends orders as lines of JSON, see `fork_server.py`.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import mmap
import os
import select
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

from evaluators.runtime.cpu import huge_pages as hugepages
from evaluators.runtime.cpu.child import (
    ARENA,
    CHANNEL,
    PR_SET_PDEATHSIG,
    PR_SET_TIMERSLACK,
    READY,
    Child,
    become_runner,
    become_subreaper,
    prctl,
)
from evaluators.runtime.cpu.noise import Waiting, await_idle, has_other_threads, lost, moment, others_running
from evaluators.sandbox import seccomp
from evaluators.sandbox.limits import Limits
from evaluators.sandbox.usage import Allowance, excess, private_bytes
from evaluators.scratch import remove_tree
from kernelevolve.core.child_process import scrubbed_environment

_PIPE_READS = 32
"""The most reads of a dead process's output. They take more than a pipe can hold."""
_REPLY_BYTES = 4 << 20
"""The longest reply of a runner process in bytes. A longer one is cut and is therefore invalid."""
_LAST_MILLISECONDS = 200
"""The milliseconds that a process which has closed its channel gets to exit by itself."""
_NO_SLACK = 1
"""The timer slack of the server: the nanoseconds by which a sleep may take longer."""
_FIRST_MILLISECONDS = 3
"""The milliseconds after which threads that a call has started are bound to cores."""
_GLANCE_NANOSECONDS = 20_000_000
"""The nanoseconds that a process runs between two checks of its resources. It can take some ten megabytes in that time."""
_TIMED_GLANCE_NANOSECONDS = 250_000_000
"""The nanoseconds between two checks of a process's resources in a timed block. A check makes the block longer by some 0.1 ms."""
_CLOCK = time.perf_counter_ns
_UNKNOWN = {"timeout": False, "excess": None, "signal": 0, "code": -1, "output": "", "peak_bytes": 0}
"""The ending of a process that the server does not know."""


class _WorkerGoneError(Exception):
    """The worker has closed its end of the socket."""


def _mapped(memory: int) -> mmap.mmap:
    """Map shared memory in a way that processes forked from now on do not inherit."""
    found = mmap.mmap(memory, os.fstat(memory).st_size)
    found.madvise(mmap.MADV_DONTFORK)
    return found


class _Server:
    def __init__(self, worker: socket.socket, interruption: int, home: dict[str, str], runner: Any) -> None:
        """Prepare to serve.

        Args:
            worker: The socket of the worker.
            interruption: A descriptor that is readable while the current job is interrupted.
            home: The environment variables of runner processes.
            runner: The module of runner processes, with `prepare_process` and `serve`.
        """
        self._runner = runner
        self._worker = worker
        self._interruption = interruption
        self._home = home
        self._processes: dict[int, Child] = {}
        self._unburied: list[Child] = []
        """The processes that were killed and are cleaned up once the current order is answered."""
        self._cores = sorted(os.sched_getaffinity(0))
        self._stage = mmap.mmap(-1, mmap.PAGESIZE)
        self._held_bytes = private_bytes()
        self._collapsing = hugepages.collapsing()
        # The main threads of runner processes begin their blocks on this core, which is free again when they report that they are done.
        os.sched_setaffinity(0, self._cores[:1])

    def serve(self) -> None:
        """Carry out orders until the worker closes the socket."""
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
                answer = self._carry_out(order, fds)
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

    def _carry_out(self, order: dict[str, Any], fds: list[int]) -> dict[str, Any]:
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
        if order["op"] == "block":
            begin = _CLOCK()
            answer = self._block(process, begin + int(order["limit"] * 1e9))
            return {**answer, "spent_nanoseconds": _CLOCK() - begin}
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
                from evaluators.sandbox.confinement import confine_candidate

                self._runner.prepare_process(confined=order["confined"])
                if order["confined"]:
                    confine_candidate(Path(order["folder"]), order["readable"])
                    if seccomp.supported():
                        seccomp.confine_calls()
                self._runner.serve(CHANNEL, ARENA)
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
        """Run a timed block: wait for an idle machine, have the process prepare, copy the stage's values to it, and time its calls."""
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
        """Let a process carry out one order, and stop it again."""
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
        if placed and not process.poll.poll(_FIRST_MILLISECONDS):
            process.free(process.place(self._cores), self._cores)  # It may have started threads.
        waiting = Waiting(process.pid, len(self._cores))
        reply = self._reply(process, deadline, waiting=waiting)
        if isinstance(reply, dict):
            return {"ended": reply}
        waited = waiting.nanoseconds()
        if not process.halt():
            return {"ended": self._end(process, timeout=True)}
        return {"reply": reply, "lost_nanoseconds": waited}

    def _block(self, process: Child, deadline: int) -> dict[str, Any]:
        """Let a prepared process run its calls, and time them."""
        threads = process.place(self._cores)
        try:
            process.channel.send(b"\n")
        except OSError:
            return {"ended": self._lost(process)}
        others = others_running()
        before = moment(process.pid, threads)
        begin, ran = _CLOCK(), time.thread_time_ns()
        process.go()
        process.free(threads, self._cores)
        beside = _CLOCK() - begin - (time.thread_time_ns() - ran)
        reply = self._reply(process, deadline, _TIMED_GLANCE_NANOSECONDS)
        end = _CLOCK()
        if isinstance(reply, dict):
            return {"ended": reply}
        after = moment(process.pid, threads)
        process.starts_threads = process.starts_threads or has_other_threads(before, after)
        if not process.halt():
            return {"ended": self._end(process, timeout=True)}
        later = others_running()
        seen = None if others is None or later is None else max(others, later)
        return {
            "report": reply,
            "nanoseconds": end - begin,
            "lost_nanoseconds": lost(before.without(max(0, beside)), after, len(self._cores), seen),
            "others": seen,
        }

    def _reply(
        self,
        process: Child,
        deadline: int,
        glance: int = _GLANCE_NANOSECONDS,
        waiting: Waiting | None = None,
    ) -> str | dict[str, Any]:
        """Return the reply of a process, one line without its end, or a description of how the process ended.

        Its resources are checked every `glance` nanoseconds. Its deadline moves by the time of `waiting`.
        """
        reply, first = bytearray(), deadline
        seen = _CLOCK() - min(process.unseen, _GLANCE_NANOSECONDS)
        while True:
            now = _CLOCK()
            if now >= deadline:
                deadline = first + (waiting.nanoseconds() if waiting is not None else 0)
                if now >= deadline:
                    return self._end(process, timeout=True)
            if now >= seen + glance:
                if waiting is not None:
                    waiting.begin()
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
                    reply += part
                    if part.endswith(b"\n") or len(reply) > _REPLY_BYTES:
                        process.unseen = _CLOCK() - seen
                        return reply[:_REPLY_BYTES].decode(errors="replace").rstrip("\n")
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
        """Kill a process and its descendants, and return how it ended. `excess` says what it held too much of."""
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
        """Return how a process ended that has closed its channel. It first gets a moment to exit by itself."""
        handle = os.pidfd_open(process.pid)
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        poll.poll(_LAST_MILLISECONDS)
        os.close(handle)
        return self._end(process, timeout=False)

    def _bury(self, process: Child) -> tuple[int, int]:
        """Kill a process, wait for it and remove what it leaves behind. Return its wait status and its peak memory in bytes."""
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
        """Kill the remaining descendants of a dead process, until only the other runner processes are left."""
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
    """Return the children of this process. Orphans of runner processes are among them, since the server is their subreaper."""
    try:
        text = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    except OSError:
        return []
    return [int(p) for p in text.split()]


def main() -> None:
    """Run a fork server. The arguments are the descriptors of the worker's socket and of the interruption, and the module of runners."""
    worker, interruption = socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2])
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    become_subreaper()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})  # `Child.halt` waits for it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    home = scrubbed_environment(PYTHONPATH=os.environ["PYTHONPATH"])
    gc.disable()  # Imports leave next to nothing to collect, and collecting takes a fifth of their time.
    with hugepages.huge_heap():
        runner = importlib.import_module(sys.argv[3])  # This imports torch, which runner processes inherit.
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
    _Server(worker, interruption, home, runner).serve()


if __name__ == "__main__":
    main()
