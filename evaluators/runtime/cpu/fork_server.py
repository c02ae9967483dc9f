"""The worker's end of a fork server."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from evaluators.folders import OwnedFolder
from evaluators.runtime.base import RuntimeLostError
from evaluators.runtime.cpu.arena import Arena
from evaluators.runtime.cpu.fork_server_main import KEPT_VARIABLES
from evaluators.runtime.cpu.runner_process import BlockOrder, BlockReply, RunnerProcess
from evaluators.runtime.interruption import Interruption
from evaluators.sandbox.limits import Limits
from evaluators.sandbox.usage import Allowance
from evaluators.scratch import disk_errors, remove_tree, scratch_base
from kernelevolve.core.helpers import ROOT, module_command, python_path

_STEADY_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40)}
"""glibc keeps what was freed, as a caching allocator does: else both sides of a ratio are page faults more than work."""


_OPEN_FILES = 1024
_FILE_BYTES = 256 << 20
"""Of a file that a candidate writes."""
_UNUSED_ADDRESSES = 8 << 30
"""That libraries and threads set aside and do not touch."""
_KEPT_BYTES = 1 << 30
"""Most that memory for inputs may take while no player has it."""
_FILES = 4096
"""In a player's folder."""
_THREADS, _THREADS_PER_CORE = 512, 8


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
        self.generation = 0
        """Counts the servers that were started."""
        self._spare: Arena | None = None
        self._stage: Arena | None = None
        self._staged_generation = 0
        self.interruption = Interruption()
        """While it is set, the order under way ends its player and others raise InterruptedJobError, but for those that end a player."""
        with disk_errors(scratch_base(), "a folder"):
            self._own = OwnedFolder(scratch_base(), "kernelevolve-runners")
        self._base = self._own.path

    def start(self) -> None:
        """Begin starting; the first order waits until it is there."""
        if self._process is not None and self._process.poll() is None:
            return
        self.stop()
        ours, theirs = socket.socketpair()
        self._process = subprocess.Popen(
            module_command("evaluators.runtime.cpu.fork_server_main", str(theirs.fileno()), str(self.interruption.fd)),
            pass_fds=[theirs.fileno(), self.interruption.fd],
            stdin=subprocess.DEVNULL,
            cwd=ROOT,
            env=self._environment(),
            start_new_session=True,
        )
        theirs.close()
        self.generation += 1
        self._channel, self._lines = ours, None

    def _environment(self) -> dict[str, str]:
        """None of the user's keys; as many threads as were asked for, where Ray tells its workers to use one."""
        kept = {k: v for k, v in os.environ.items() if k in KEPT_VARIABLES}
        return {**kept, **_STEADY_MEMORY, "PYTHONPATH": python_path(), "OMP_NUM_THREADS": str(self._threads)}

    def spawn(
        self,
        arena_bytes: int,
        *,
        trusted: bool,
        memory_gb: float,
        cpu_seconds: float,
        environment: Mapping[str, str] | None = None,
    ) -> RunnerProcess:
        """A new player that holds nothing yet, with memory for inputs. `trusted`: it runs the user's own code.

        Raises RuntimeLostError, InterruptedJobError, and UserError where there is no room for its folder.
        """
        self.start()
        with disk_errors(self._base, "a player's folder"):
            folder = Path(tempfile.mkdtemp(prefix="runner-", dir=self._base))
        try:
            arena = self._arena(arena_bytes)
        except BaseException:
            remove_tree(folder)
            raise
        environment = dict(environment or {})
        order = {
            "op": "spawn",
            "folder": str(folder),
            "limits": self._limits(arena_bytes, trusted, int(memory_gb * (1 << 30)), cpu_seconds).model_dump(),
            "allowance": None if trusted else _allowance(arena_bytes, int(memory_gb * (1 << 30))).model_dump(),
            "environment": environment,
            "confined": self._confined and not trusted,
            "readable": [*self._readable, *filter(os.path.isabs, environment.values())],
        }
        try:
            answer = self.order(order, [arena.fd])
        except BaseException:
            arena.close()
            remove_tree(folder)
            raise
        return RunnerProcess(answer["process"], arena, folder, self)

    def _arena(self, capacity: int) -> Arena:
        """A new one, or that of a player that is gone."""
        spare, self._spare = self._spare, None
        if spare is None or spare.requested != capacity:
            if spare is not None:
                spare.close()
            return Arena(capacity)
        try:
            self.rest()
        except BaseException:
            spare.close()
            raise
        spare.clear()
        return spare

    def keep(self, arena: Arena) -> None:
        """For the next player; `arena`: of one that was ended."""
        if self._spare is None and arena.capacity <= _KEPT_BYTES:
            self._spare = arena
        else:
            arena.close()

    def _limits(self, arena_bytes: int, trusted: bool, memory: int, seconds: float) -> Limits:
        if trusted:
            return Limits(
                memory_bytes=memory, file_bytes=memory, processor_seconds=int(seconds) + 1, open_files=_OPEN_FILES
            )
        return Limits(
            memory_bytes=memory,
            address_bytes=memory + arena_bytes + _UNUSED_ADDRESSES,
            file_bytes=min(memory, _FILE_BYTES),
            processor_seconds=int(seconds) + 1,
            open_files=_OPEN_FILES,
        )

    def stage(self, capacity: int) -> Arena:
        """Memory of at least so many bytes that turns take values from; no player sees it. Raises as `order` does."""
        if self._stage is None or self._stage.capacity < capacity or self._staged_generation != self.generation:
            if self._stage is None or self._stage.capacity < capacity:
                self._drop_stage()
                self._stage = Arena(capacity)
            self.order({"op": "stage"}, [self._stage.fd])
            self._staged_generation = self.generation
        return self._stage

    def _drop_stage(self) -> None:
        if self._stage is not None:
            self._stage.close()
            self._stage = None

    def run(self, blocks: Sequence[BlockOrder]) -> list[BlockReply]:
        """One timed block after the other. Raises as `order` does."""
        orders = [
            {
                "process": each.process.pid,
                "message": dict(each.order),
                "limit": each.limit,
                "staged": each.staged,
                "patience": each.patience,
            }
            for each in blocks
            if each.process.ending is None
        ]
        answers = iter(self.order({"op": "round", "blocks": orders})["blocks"] if orders else ())
        replies = [BlockReply(b.process, {} if b.process.ending is not None else next(answers)) for b in blocks]
        for block, reply in zip(blocks, replies, strict=True):
            block.process.note(reply.answer, block.limit)
        return replies

    def order(self, order: Mapping[str, Any], fds: Sequence[int] = ()) -> dict[str, Any]:
        """Raises RuntimeLostError, and InterruptedJobError where `interrupt` was called."""
        if order["op"] != "end":
            self.interruption.check()
        if self._channel is None:
            raise RuntimeLostError("no channel to the fork server")
        try:
            if self._lines is None:
                self._await_start(self._channel)
            text = json.dumps(order).encode() + b"\n"
            sent = socket.send_fds(self._channel, [text], list(fds)) if fds else 0
            self._channel.sendall(text[sent:])
            line = self._lines.readline()
        except OSError as error:
            self._fail(str(error))
        if not line:
            self._fail("the fork server died")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _await_start(self, channel: socket.socket) -> None:
        poll = select.poll()
        poll.register(channel, select.POLLIN)
        poll.register(self.interruption.fd, select.POLLIN)
        poll.poll()
        self.interruption.check()
        self._lines = channel.makefile("r")
        if not self._lines.readline():
            raise RuntimeLostError("the fork server did not start")

    def _fail(self, why: str) -> NoReturn:
        self.stop()
        self.interruption.check()
        raise RuntimeLostError(why)

    def rest(self) -> None:
        """Return once players that were ended are gone, with their folders. Raises as `order` does."""
        if self._process is not None:
            self.order({"op": "rest"})

    def interrupt(self) -> None:
        """From another thread: end the player that is busy, and have orders raise InterruptedJobError until `resume`."""
        self.interruption.set()

    def resume(self) -> None:
        """Take orders again, once the job that was interrupted has ended."""
        self.interruption.clear()

    def stop(self) -> None:
        """End the server, with all players."""
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
        """Stop it for good and remove its folder."""
        self.stop()
        self.interruption.close()
        if self._spare is not None:
            self._spare.close()
            self._spare = None
        self._drop_stage()
        self._own.remove()


def _allowance(arena_bytes: int, memory: int) -> Allowance:
    return Allowance(
        memory_bytes=memory + arena_bytes,
        files=_FILES,
        threads=_THREADS + _THREADS_PER_CORE * (os.cpu_count() or 1),
    )
