"""Runner processes as the worker sees them: the orders to them, their replies and their endings."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from evaluators.runtime.base import Noise, RuntimeLostError
from evaluators.runtime.cpu.arena import Arena
from evaluators.runtime.interruption import InterruptedJobError
from evaluators.scratch import remove_tree
from evaluators.verdict import Failure
from kernelevolve.core.evaluation import Status

if TYPE_CHECKING:
    from evaluators.runtime.cpu.fork_server import ForkServer

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
_USUAL_SECONDS, _USUAL_SHARE = 1.5e-4, 0.05
"""The waiting, in seconds plus a share of the block, above which a block is noisy if no other program was seen. Threads of one process
wait for each other by as much."""
_BESIDE_SECONDS, _BESIDE_SHARE = 4e-5, 0.02
"""The waiting, in seconds plus a share of the block, above which a block is noisy if another program was seen."""
_MEMORY_SIGNS = ("bad_alloc", "MemoryError", "can't allocate memory", "Cannot allocate memory", "failed to map segment")
"""The texts in the output of a process that show that it ran out of memory."""


@dataclass(frozen=True)
class Ending:
    """The way in which a runner process ended."""

    timeout: bool
    """Whether it was killed because its time was up."""
    excess: str | None
    """The resource of which it held too much, as a text, if it was killed for that."""
    limit: float
    """The seconds that its last order was allowed to take."""
    signal: int
    """The signal that ended it, or 0."""
    code: int
    """Its exit code, or -1 if a signal ended it."""
    output: str
    """The end of its printed output."""
    peak_bytes: int
    """Its peak memory in bytes."""

    @property
    def out_of_memory(self) -> bool:
        """Whether the process exceeded its memory."""
        return self.excess is not None or self.code == 71 or any(sign in self.output[-4000:] for sign in _MEMORY_SIGNS)

    @property
    def signal_name(self) -> str:
        """The name of the signal that ended it."""
        return _SIGNALS.get(self.signal, f"signal {self.signal}")

    def verdict(self, stage: str, *, trusted: bool) -> Failure:
        """Return the failure of the implementation that the process held.

        Args:
            stage: The stage of the evaluation.
            trusted: Whether the process was trusted. If one gets SIGKILL, the machine is out of memory.
        """
        tail = self.output[-2000:]
        if self.timeout:
            return Failure(Status.TIMEOUT, stage, f"not done after {self.limit:.3g} s", tail)
        if self.excess is not None:
            return Failure(Status.OUT_OF_MEMORY, stage, self.excess, tail)
        if self.out_of_memory or (trusted and self.signal == signal.SIGKILL):
            return Failure(Status.OUT_OF_MEMORY, stage, "more memory than it may have", tail)
        if self.signal == signal.SIGXCPU:
            return Failure(Status.TIMEOUT, stage, "more processor time than it may have", tail)
        if self.signal:
            return Failure(Status.CRASHED, stage, f"ended by {self.signal_name}", tail)
        return Failure(Status.CRASHED, stage, f"exited with code {self.code} before it returned a result", tail)


class RunnerEndedError(Exception):
    """A runner process has ended: it died, or it was killed."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(
            "timeout"
            if ending.timeout
            else ending.excess or (ending.signal_name if ending.signal else f"code {ending.code}")
        )
        self.ending = ending


class MalformedReplyError(Exception):
    """The reply of a runner process is malformed, so foreign code wrote it."""


@dataclass
class RunnerProcess:
    """A child of the fork server that holds one implementation. It is stopped between orders. Leave its context to end it."""

    pid: int
    """The id of the process."""
    arena: Arena
    """The memory of its inputs."""
    folder: Path
    """Its folder."""
    server: ForkServer
    """Its fork server."""
    ending: Ending | None = field(default=None, init=False)
    """How it ended, or None while that is not known."""
    lost_seconds: float = field(default=0.0, init=False)
    """The seconds of its last order in which other programs kept it from its cores. They do not count toward its limits."""
    _generation: int = field(init=False)

    def __post_init__(self) -> None:
        self._generation = self.server.generation

    @property
    def alive(self) -> bool:
        """Whether the process can take orders: neither it nor its server has ended."""
        return self.ending is None and self.server.generation == self._generation

    def ask(self, order: Mapping[str, Any], limit: float) -> Mapping[str, Any]:
        """Have the process carry out an order of `runner_main.py`.

        Args:
            order: The order.
            limit: The seconds that it may take, without the time in which other programs use the cores.

        Returns:
            The reply.

        Raises:
            RunnerEndedError: The process ended.
            MalformedReplyError: The reply is malformed.
            RuntimeLostError: The fork server died.
            InterruptedJobError: The job was interrupted.
        """
        if self.ending is not None:
            raise RunnerEndedError(self.ending)
        message = {"op": "ask", "process": self.pid, "message": dict(order), "limit": limit}
        self.lost_seconds = 0.0
        answer = self.server.order({**message, "placed": order["do"] == "call"})
        self.lost_seconds = float(answer.get("lost_nanoseconds", 0)) / 1e9
        self.note(answer, limit)
        return _object(self.reply(answer))

    def note(self, answer: Mapping[str, Any], limit: float) -> None:
        """Record whether the process has ended, according to the server's answer. Raises InterruptedJobError if it was interrupted."""
        if "ended" in answer:
            self.ending = Ending(limit=limit, **answer["ended"])
            self.server.interruption.check()

    def reply(self, answer: Mapping[str, Any]) -> str:
        """Return the reply of the process in the server's answer. Raises RunnerEndedError if the process has ended."""
        if self.ending is not None:
            raise RunnerEndedError(self.ending)
        return str(answer["reply"])

    def end(self) -> None:
        """Kill the process and its descendants. The server removes its folder; `ForkServer.rest` waits for that."""
        served = self.ending is not None
        if self.alive:
            with suppress(RuntimeLostError, InterruptedJobError):
                self.server.order({"op": "end", "process": self.pid})
                served = True
        if not served:
            remove_tree(self.folder)
        if served and self.server.generation == self._generation:
            self.server.keep(self.arena)
        else:
            self.arena.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()


@dataclass(frozen=True)
class BlockOrder:
    """The order to the fork server for a timed block: the process prepares, gets new values, and runs its calls while it is timed."""

    process: RunnerProcess
    """The process that runs the block."""
    order: Mapping[str, Any]
    """The order `prepare` for the process."""
    limit: float
    """The seconds that preparing and running the block may take."""
    staged: tuple[int, int]
    """The byte range of its inputs that is copied from the stage, as (first, one past the last)."""
    patience: float = 0.0
    """The seconds to wait for an idle machine before the block."""


@dataclass(frozen=True)
class BlockReply:
    """The reply of the fork server to the order for a timed block."""

    process: RunnerProcess
    """The process that ran the block."""
    answer: Mapping[str, Any]
    """The answer of the fork server; empty if the process had ended before."""

    def prepared(self) -> Mapping[str, Any]:
        """Return the reply of the process to the order `prepare`. Raises RunnerEndedError or MalformedReplyError."""
        return _object(self.process.reply(self.answer))

    def report(self) -> Mapping[str, Any] | None:
        """Return the report of the process on a call that failed, or None. Raises MalformedReplyError."""
        return _object(self.answer["report"]) if self.answer.get("report") else None

    @property
    def seconds(self) -> float:
        """The seconds of the calls by the server's clock, or 0 if there were none."""
        return float(self.answer.get("nanoseconds", 0)) / 1e9

    @property
    def lost(self) -> float:
        """The seconds of the calls in which the process waited for a core that another program used; a lower bound."""
        return float(self.answer.get("lost_nanoseconds", 0)) / 1e9

    @property
    def noise(self) -> Noise:
        """The influence of other programs on the block."""
        return noise_of(self.seconds, self.lost, self.answer.get("others"))

    @property
    def idle(self) -> bool | None:
        """Whether the machine was idle before the block, or None if the block did not wait for that."""
        return self.answer.get("idle")

    @property
    def spent(self) -> float:
        """The seconds that preparing and running the block took."""
        return float(self.answer.get("spent_nanoseconds", 0)) / 1e9


def _object(text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MalformedReplyError(str(error)) from error
    if not isinstance(found, dict):
        raise MalformedReplyError(f"a {type(found).__name__}")
    return found


def noise_of(seconds: float, lost_seconds: float, others: int | None) -> Noise:
    """Return the influence of other programs on a block.

    Args:
        seconds: The seconds of the block.
        lost_seconds: The seconds for which it waited for a core.
        others: The runnable threads of other programs when it began or ended, or None if unknown.
    """
    if others == 0:
        return Noise.NOISY if lost_seconds > _USUAL_SECONDS + _USUAL_SHARE * seconds else Noise.QUIET
    return Noise.NOISY if lost_seconds > _BESIDE_SECONDS + _BESIDE_SHARE * seconds else Noise.SHARED
