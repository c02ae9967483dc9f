"""The client of a fork server, in a worker."""

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
from evaluators.runtime.cpu.runner_process import BlockOrder, BlockReply, RunnerProcess
from evaluators.runtime.interruption import Interruption
from evaluators.sandbox.limits import Limits
from evaluators.sandbox.usage import Allowance
from evaluators.scratch import disk_errors, remove_tree, scratch_base
from kernelevolve.core.child_process import ROOT, module_command, python_path, scrubbed_environment

_STEADY_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40)}
"""The settings of glibc that make it keep freed memory, like a caching allocator. Otherwise page faults would dominate the times."""


_OPEN_FILES = 1024
"""The most open files of a runner process."""
_FILE_BYTES = 256 << 20
"""The largest size in bytes of a file that a candidate writes."""
_UNUSED_ADDRESSES = 8 << 30
"""The bytes of address space that libraries and threads reserve and do not use."""
_KEPT_BYTES = 1 << 30
"""The most bytes of memory for inputs that are kept while no process uses them."""
_FILES = 4096
"""The most files in the folder of a candidate's process."""
_THREADS, _THREADS_PER_CORE = 512, 8
"""The most threads of a candidate's process: a fixed number, and a further number for each core."""


class ForkServer:
    """Starts a fork server on its first use, and another one if that has died."""

    def __init__(
        self,
        *,
        threads: int,
        confined: bool,
        readable: Sequence[str] = (),
        runner: str = "evaluators.runtime.cpu.runner_main",
        environment: Mapping[str, str] | None = None,
        limits_addresses: bool = True,
    ) -> None:
        """Prepare a fork server without starting it.

        Args:
            threads: The number of threads of OpenMP and torch in each process.
            confined: Whether candidates may access only the files that they need and `readable`.
            readable: Further paths that candidates may read.
            runner: The module of runner processes.
            environment: Environment variables of all runner processes.
            limits_addresses: Whether the address space of candidates is limited. A GPU's driver reserves terabytes of it.

        Raises:
            UserError: There is no room for the server's folder.
        """
        self._threads = threads
        self._confined = confined
        self._readable = tuple(readable)
        self._runner = runner
        self._always = dict(environment or {})
        self._limits_addresses = limits_addresses
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._lines: Any = None
        self.generation = 0
        """The number of servers that were started."""
        self._spare: Arena | None = None
        self._stage: Arena | None = None
        self._staged_generation = 0
        self.interruption = Interruption()
        """A flag that interrupts the current job. While it is set, the current order ends its process and all others raise
        InterruptedJobError, except those that end a process."""
        with disk_errors(scratch_base(), "a folder"):
            self._own = OwnedFolder(scratch_base(), "kernelevolve-runners")
        self._base = self._own.path

    def start(self) -> None:
        """Begin to start the server in the background. The first order waits until it is ready."""
        if self._process is not None and self._process.poll() is None:
            return
        self.stop()
        ours, theirs = socket.socketpair()
        self._process = subprocess.Popen(
            module_command(
                "evaluators.runtime.cpu.fork_server_main",
                *(str(theirs.fileno()), str(self.interruption.fd), self._runner),
            ),
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
        """Return the environment of the server: none of the user's keys, and the chosen number of threads, where Ray sets 1."""
        own = {"PYTHONPATH": python_path(), "OMP_NUM_THREADS": str(self._threads)}
        return scrubbed_environment(**_STEADY_MEMORY, **own)

    def spawn(
        self,
        arena_bytes: int,
        *,
        trusted: bool,
        memory_gb: float,
        cpu_seconds: float,
        environment: Mapping[str, str] | None = None,
    ) -> RunnerProcess:
        """Fork a runner process that holds no implementation yet.

        Args:
            arena_bytes: The bytes of memory for inputs.
            trusted: Whether the process runs the user's own code rather than a candidate.
            memory_gb: The GiB of memory that it may take.
            cpu_seconds: The seconds of processor time that it may take.
            environment: Additional environment variables.

        Raises:
            RuntimeLostError: The server died.
            InterruptedJobError: The job was interrupted.
            UserError: There is no room for the folder of the process.
        """
        self.start()
        with disk_errors(self._base, "a runner's folder"):
            folder = Path(tempfile.mkdtemp(prefix="runner-", dir=self._base))
        try:
            arena = self._arena(arena_bytes)
        except BaseException:
            remove_tree(folder)
            raise
        environment = {**self._always, **(environment or {})}
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
        """Return new memory for inputs, or that of a process that has ended."""
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
        """Keep the memory of a process that was ended for the next process, or close it."""
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
            address_bytes=memory + arena_bytes + _UNUSED_ADDRESSES if self._limits_addresses else None,
            file_bytes=min(memory, _FILE_BYTES),
            processor_seconds=int(seconds) + 1,
            open_files=_OPEN_FILES,
        )

    def stage(self, capacity: int) -> Arena:
        """Return memory of at least `capacity` bytes, from which timed blocks take their values. No runner process has access to it.

        Raises as `order` does.
        """
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
        """Run timed blocks one after the other, and return the reply to each. Raises as `order` does."""
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
        expected = iter(self.order({"op": "round", "blocks": orders})["blocks"] if orders else ())
        replies = [BlockReply(b.process, {} if b.process.ending is not None else next(expected)) for b in blocks]
        for block, reply in zip(blocks, replies, strict=True):
            block.process.note(reply.answer, block.limit)
        return replies

    def order(self, order: Mapping[str, Any], fds: Sequence[int] = ()) -> dict[str, Any]:
        """Send one order to the server and return the answer.

        Args:
            order: The order, made of plain values.
            fds: File descriptors to pass along.

        Raises:
            RuntimeLostError: The server died.
            InterruptedJobError: `interrupt` was called.
        """
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
        """Wait until the processes that were ended are gone and their folders are removed. Raises as `order` does."""
        if self._process is not None:
            self.order({"op": "rest"})

    def interrupt(self) -> None:
        """End the busy process, and make orders raise InterruptedJobError until `resume`. Call it from another thread."""
        self.interruption.set()

    def resume(self) -> None:
        """Accept orders again. Call it when the interrupted job has ended."""
        self.interruption.clear()

    def stop(self) -> None:
        """End the server and all runner processes."""
        if self._lines is not None:
            self._lines.close()  # This file keeps the socket open, and the server ends when the socket is closed.
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
        """Stop the server for good and remove its folder."""
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
