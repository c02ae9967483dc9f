"""Keeping bystanders stopped during a measurement, through a process that lets them go on if this one dies."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from evaluators.runtime.cpu.stillness_main import KEEP, RELEASE
from kernelevolve.core.bystanders import Bystander
from kernelevolve.core.child_process import ROOT, module_command, python_path, scrubbed_environment

_ANSWER_SECONDS = 5.0
"""The most seconds to wait for the answer to an order."""


class Stillness:
    """Stops bystanders on demand. Its process starts on its first use, and again if it has died. Call `close` in the end."""

    def __init__(self) -> None:
        self._channel: socket.socket | None = None

    @contextmanager
    def kept(self, bystanders: Sequence[Bystander]) -> Iterator[None]:
        """Keep bystanders stopped, except for short breaks, so that they lose no connections."""
        if not bystanders:
            yield
            return
        self._order(" ".join([KEEP, *(f"{each.pid}:{each.started}" for each in bystanders)]))
        try:
            yield
        finally:
            self._order(RELEASE)

    def close(self) -> None:
        """End the process, which lets all bystanders go on."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def _order(self, order: str) -> None:
        """Give an order and wait until it is carried out. If there is no process, nothing is stopped, and blocks are noisier."""
        try:
            channel = self._channel or self._start()
            channel.sendall(f"{order}\n".encode())
            answered = channel.recv(1)
        except OSError:
            answered = b""
        if not answered:
            self.close()

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        ours.settimeout(_ANSWER_SECONDS)
        with theirs:
            process = subprocess.Popen(
                module_command("evaluators.runtime.cpu.stillness_main", str(theirs.fileno())),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                cwd=ROOT,
                env=scrubbed_environment(PYTHONPATH=python_path()),
                start_new_session=True,
            )
        process.wait()  # It leaves a process of its own behind.
        self._channel = ours
        return ours
