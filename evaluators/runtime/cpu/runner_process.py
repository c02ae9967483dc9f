"""Players as the judge holds them: what they are asked, what they say, how they end."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from evaluators.runtime.cpu.arena import Arena
from evaluators.runtime.cpu.noise import Grade, grade_of
from evaluators.runtime.interruption import InterruptedJobError
from evaluators.scratch import remove_tree

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
_MEMORY_SIGNS = ("bad_alloc", "MemoryError", "can't allocate memory", "Cannot allocate memory", "failed to map segment")


class ServerDiedError(RuntimeError):
    """The fork server is gone: our failure, or that of the machine."""


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


class PlayerEndedError(Exception):
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
class Player:
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

        Raises PlayerEndedError, NonsenseError, ServerDiedError, InterruptedJobError.
        """
        if self.ending is not None:
            raise PlayerEndedError(self.ending)
        message = {"op": "ask", "player": self.pid, "message": dict(order), "limit": limit}
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
            raise PlayerEndedError(self.ending)
        return str(answer["reply"])

    def end(self) -> None:
        """Kill it, with all that descends from it. The server removes its folder; `ForkServer.rest` waits for that."""
        served = self.ending is not None
        if self.alive:
            with suppress(ServerDiedError, InterruptedJobError):
                self.server.order({"op": "end", "player": self.pid})
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
class Turn:
    """A player's part of a round: it carries out the order `prepare`, gets new values, and runs its calls on the clock."""

    player: Player
    order: Mapping[str, Any]
    limit: float
    """Seconds for all of it."""
    staged: tuple[int, int]
    """First byte, and the one behind the last, of the memory of its inputs that is taken from the stage."""
    patience: float = 0.0
    """Seconds to wait for an idle machine before it begins."""


@dataclass(frozen=True)
class Played:
    """What came of a turn."""

    player: Player
    answer: Mapping[str, Any]

    def told(self) -> Mapping[str, Any]:
        """Its reply to the order. Raises PlayerEndedError, NonsenseError."""
        return _object(self.player.reply(self.answer))

    def report(self) -> Mapping[str, Any] | None:
        """What it said of a call that failed. Raises as `told` does."""
        return _object(self.answer["report"]) if self.answer.get("report") else None

    @property
    def seconds(self) -> float:
        """On the server's clock, of the calls; 0 where there were none."""
        return float(self.answer.get("nanoseconds", 0)) / 1e9

    @property
    def lost(self) -> float:
        """Seconds of these, at least, in which it waited for a core that others had."""
        return float(self.answer.get("lost_nanoseconds", 0)) / 1e9

    @property
    def grade(self) -> Grade:
        """How much others had to do with the block."""
        return grade_of(self.seconds, self.lost, self.answer.get("others"))

    @property
    def idle(self) -> bool | None:
        """Whether the machine was found idle before it; None where that was not waited for."""
        return self.answer.get("idle")

    @property
    def spent(self) -> float:
        """Seconds that the turn took."""
        return float(self.answer.get("spent_nanoseconds", 0)) / 1e9


def _object(text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NonsenseError(str(error)) from error
    if not isinstance(found, dict):
        raise NonsenseError(f"a {type(found).__name__}")
    return found
