"""Players as the judge holds them: what they are asked, what they say, how they end."""

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
"""Seconds and share of a block that its threads wait for each other, at most, while nobody else is seen,"""
_BESIDE_SECONDS, _BESIDE_SHARE = 4e-5, 0.02
"""and that may be waited while somebody is."""
_MEMORY_SIGNS = ("bad_alloc", "MemoryError", "can't allocate memory", "Cannot allocate memory", "failed to map segment")


@dataclass(frozen=True)
class Ending:
    """How a player ended."""

    timeout: bool
    excess: str | None
    """What it was ended for holding too much of."""
    limit: float
    """Seconds that it had for what it was doing."""
    signal: int
    code: int
    output: str
    """The end of what it printed."""
    peak_bytes: int

    @property
    def out_of_memory(self) -> bool:
        return self.excess is not None or self.code == 71 or any(sign in self.output[-4000:] for sign in _MEMORY_SIGNS)

    @property
    def signal_name(self) -> str:
        return _SIGNALS.get(self.signal, f"signal {self.signal}")

    def verdict(self, stage: str, *, trusted: bool) -> Failure:
        """What it means for what the process held. `trusted`: nobody but a machine that is out of memory kills it."""
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
        return Failure(Status.CRASHED, stage, f"ended with code {self.code} before its result was there", tail)


class RunnerEndedError(Exception):
    """A player is no more: it died, or its time was up."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(
            "timeout"
            if ending.timeout
            else ending.excess or (ending.signal_name if ending.signal else f"code {ending.code}")
        )
        self.ending = ending


class NonsenseError(Exception):
    """A player's reply is not what a player says: foreign code wrote it."""


@dataclass
class RunnerProcess:
    """A child of the fork server that holds one implementation; stopped whenever it is not asked. Leave its context to end it."""

    pid: int
    arena: Arena
    folder: Path
    server: ForkServer
    ending: Ending | None = field(default=None, init=False)
    lost_seconds: float = field(default=0.0, init=False)
    """Of what it was asked last, that others kept it from its cores: they count for no limit."""
    _generation: int = field(init=False)

    def __post_init__(self) -> None:
        self._generation = self.server.generation

    @property
    def alive(self) -> bool:
        """Whether it can be asked: it has not ended, nor its server."""
        return self.ending is None and self.server.generation == self._generation

    def ask(self, order: Mapping[str, Any], limit: float) -> Mapping[str, Any]:
        """Its reply to an order of `player.py`, within `limit` seconds in which it has its cores.

        Raises PlayerEndedError, NonsenseError, RuntimeLostError, InterruptedJobError.
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
        """What the server said of it: whether it has ended. Raises InterruptedJobError where that was asked for."""
        if "ended" in answer:
            self.ending = Ending(limit=limit, **answer["ended"])
            self.server.interruption.check()

    def reply(self, answer: Mapping[str, Any]) -> str:
        """Its reply among what the server said; raises PlayerEndedError where there is none."""
        if self.ending is not None:
            raise RunnerEndedError(self.ending)
        return str(answer["reply"])

    def end(self) -> None:
        """Kill it, with all that descends from it. The server removes its folder; `ForkServer.rest` waits for that."""
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
    """A timed block for the fork server: the process carries out the order `prepare`, gets new values, and runs its calls on the clock."""

    process: RunnerProcess
    order: Mapping[str, Any]
    limit: float
    """Seconds for all of it."""
    staged: tuple[int, int]
    """First byte, and the one behind the last, of the memory of its inputs that is taken from the stage."""
    patience: float = 0.0
    """Seconds to wait for an idle machine before it begins."""


@dataclass(frozen=True)
class BlockReply:
    """What the fork server said of a timed block."""

    process: RunnerProcess
    answer: Mapping[str, Any]

    def prepared(self) -> Mapping[str, Any]:
        """The process's reply to the order. Raises RunnerEndedError, NonsenseError."""
        return _object(self.process.reply(self.answer))

    def report(self) -> Mapping[str, Any] | None:
        """What the process said of a call that failed. Raises as `prepared` does."""
        return _object(self.answer["report"]) if self.answer.get("report") else None

    @property
    def seconds(self) -> float:
        """Seconds of the calls, on the server's clock; 0 where there were none."""
        return float(self.answer.get("nanoseconds", 0)) / 1e9

    @property
    def lost(self) -> float:
        """Seconds of these, at least, in which the process waited for a core that others had."""
        return float(self.answer.get("lost_nanoseconds", 0)) / 1e9

    @property
    def noise(self) -> Noise:
        """How much others had to do with the block."""
        return noise_of(self.seconds, self.lost, self.answer.get("others"))

    @property
    def idle(self) -> bool | None:
        """Whether the machine was found idle before it; None where that was not waited for."""
        return self.answer.get("idle")

    @property
    def spent(self) -> float:
        """Seconds that all of it took."""
        return float(self.answer.get("spent_nanoseconds", 0)) / 1e9


def _object(text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NonsenseError(str(error)) from error
    if not isinstance(found, dict):
        raise NonsenseError(f"a {type(found).__name__}")
    return found


def noise_of(seconds: float, lost_seconds: float, others: int | None) -> Noise:
    """Of a block that took so long. `others`: threads that could run as it began, or as it ended."""
    if others == 0:
        return Noise.NOISY if lost_seconds > _USUAL_SECONDS + _USUAL_SHARE * seconds else Noise.QUIET
    return Noise.NOISY if lost_seconds > _BESIDE_SECONDS + _BESIDE_SHARE * seconds else Noise.SHARED
