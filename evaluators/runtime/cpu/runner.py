"""The judge's handle of a player: what it was given, what it may still take, what it returned."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from pydantic import ConfigDict, ValidationError

from evaluators.correctness.reference.probe import Probe
from evaluators.runtime.cpu.arena import Slots
from evaluators.runtime.cpu.process_memory import UnreadableError, read_tensor
from evaluators.runtime.cpu.runner_process import NonsenseError, Played, Player, PlayerEndedError, Turn
from evaluators.runtime.elements import Elements, Held, Remote, Widened
from evaluators.runtime.layout import layout_of
from evaluators.runtime.tensors import Described, memory_of
from evaluators.verdict import failed, verdict_on
from kernelevolve.core.evaluation import AtenShare, FallbackShare, Status
from kernelevolve.core.record import Record
from kernelevolve.core.task import AllowAten, Task
from kernelevolve.tasks.structure import Structure
from kernelevolve.tasks.tensor_kinds import DTYPES

_WIDEST = 16
"""Elements that an output may span for each that it has."""
_MOST_WHOLE = 1 << 30
"""Bytes of an output that is taken as a whole."""


class _Report(Record):
    model_config = ConfigDict(frozen=True, extra="ignore")


class FailureReport(_Report):
    """The implementation raised, or returned what is no tensor."""

    status: Literal[
        Status.RUNTIME_ERROR, Status.OUT_OF_MEMORY, Status.INVALID_SOURCE, Status.WRONG_SHAPE, Status.CHEATING
    ]
    summary: str
    details: str


class Returned(_Report):
    """What a call returned: where its tensors lie, and how they were nested."""

    outputs: tuple[Described, ...]
    values: tuple[bool | int | float | str | None, ...] = ()
    """Plain ones among what was returned."""
    structure: str
    """As `structure.described` tells it."""


class Drawn(_Report):
    """Inputs that the task's own process has drawn and written, as `tensors.save` describes them."""

    inputs: tuple[Mapping[str, Any], ...]
    structure: Structure
    """How they are nested, as the list of arguments."""
    init: tuple[Mapping[str, Any], ...] | None
    """Arguments of the constructor as `tensors.encode` writes them; None where they cannot be written."""


class _Reply(_Report):
    failure: FailureReport | None = None
    drawn: Drawn | None = None
    probe: Probe | None = None
    calls: tuple[Returned, ...] = ()
    there: bool = True
    aten: AtenShare | None = None
    fallback: FallbackShare | None = None


class _Checked:
    """What lies in a player; that it does not is the player's failure."""

    def __init__(self, seat: Seat, remote: Remote) -> None:
        self.shape, self.dtype, self.numel = remote.shape, remote.dtype, remote.numel
        self._seat = seat
        self._remote = remote

    def part(self, start: int, stop: int) -> torch.Tensor:
        try:
            return self._remote.part(start, stop)
        except UnreadableError as error:
            raise self._seat.unreadable(error) from error


class Seat:
    """Every method raises FailedError where the player fails, with a verdict that names the current `stage`."""

    def __init__(self, player: Player, stage: str = "correctness") -> None:
        self.player = player
        self.stage = stage
        self.slots: Slots | None = None
        """Where its inputs lie."""
        self.warm_slots = 0
        """That have been written to and called with, in this layout."""
        self.returned: Returned | None = None
        """What a call looks like, in this layout."""
        self.fallback: FallbackShare | None = None
        """How much of its calls the kernel has left to the reference's own operations; None where it does not count."""
        self._input_memory: list[tuple[int, int]] | None = None
        self._ruled = False
        """Whether it holds a candidate that a task's rule forbids some of PyTorch's own compute."""
        self.overhead_seconds: float | None = None
        """From here to the player and back."""
        self.call_seconds: float | None = None
        """About what a call takes, in this layout."""
        self._left = 0.0
        self._given = 0.0

    def allow(self, seconds: float) -> None:
        """For everything that it is asked from now on."""
        self._left = self._given = seconds

    def order(self, **order: Any) -> tuple[Returned, ...]:
        """Have one order of `player.py` carried out."""
        return self._told(order).calls

    def load(self, source: str, task: Task, init: Sequence[Mapping[str, Any]] | None, **more: Any) -> None:
        """Give it a candidate of a task, to be built. `init`: arguments of the constructor, see `Drawn`; `more`: of the order."""
        self._ruled = task.allow_aten is not AllowAten.ALL
        own = {"task": task.model_dump_json()} if init is None else {}
        self.order(do="candidate", source=source, seed=task.seed, init=init, allow_aten=task.allow_aten, **own, **more)

    def check_rule(self) -> None:
        """Whether PyTorch's own compute still raises where the task forbids it; FailedError where not.

        The candidate's process answers. That finds a rule that was undone, not one that was undone by code which answers in its place.
        """
        if self._ruled:
            self.order(do="rule")

    def other_parameters(self, other: str) -> bool:
        """Call a model with other parameters from now on: `made` with them, or given them by `named`; "": the first one again.

        False where it is not there: the candidate has no parameters of the reference's names.
        """
        return self._told({"do": "parameters", "other": other}).there

    def audit(self) -> AtenShare | None:
        """How much of a call with the first slot is PyTorch's own work; None where the kernel does not run when it is watched."""
        return self._told({"do": "audit"}).aten

    def look_at_fallback(self) -> None:
        """Have `fallback` told of the calls so far."""
        self.fallback = self._told({"do": "fallback"}).fallback

    def _told(self, order: Mapping[str, Any]) -> _Reply:
        begin = time.monotonic()
        try:
            return self._checked(self.player.ask(order, self._left))
        except PlayerEndedError as error:
            raise self._ended(error) from error
        except NonsenseError as error:
            raise self._nonsense(error) from error
        finally:
            self._left -= time.monotonic() - begin - self.player.lost_seconds

    def probe(self, task: Task) -> Probe:
        """Have a first look taken at a task."""
        found = self._told({"do": "probe", "task": task.model_dump_json()}).probe
        if found is None:
            raise self._nonsense("no probe")
        return found

    def draw(self, seed: int) -> Drawn:
        """Have inputs drawn and written into the player's folder."""
        drawn = self._told({"do": "draw", "seed": seed, "folder": str(self.player.folder)}).drawn
        if drawn is None:
            raise self._nonsense("no inputs")
        return drawn

    def lay_out(self, inputs: Sequence[Mapping[str, Any]], slots: int, structure: Structure | None = None) -> None:
        """Give it memory for so many sets of inputs; parameters as `layout_of` has them."""
        layout = layout_of(inputs, slots, structure)
        if self.slots is not None and layout == self.slots.layout:
            return
        self.player.arena.use(layout)
        self.slots, self.warm_slots = Slots(self.player.arena.memory, layout), 0
        self.returned, self.call_seconds = None, None
        self.order(do="inputs", layout=layout.model_dump())

    @property
    def laid_out(self) -> Slots:
        """Where its inputs lie; what is written there is what the player finds."""
        if self.slots is None:
            raise RuntimeError("inputs before `lay_out`")
        return self.slots

    def inputs(self, slot: int) -> list[Any]:
        """The leaves of the arguments of a call."""
        return self.laid_out.inputs(slot)

    def write(self, slot: int, values: Sequence[Any]) -> None:
        """Put leaves there."""
        for source, target in zip(values, self.inputs(slot), strict=True):
            if isinstance(target, torch.Tensor):
                memory_of(target).copy_(memory_of(source))

    def call(self, slots: Sequence[int]) -> tuple[Returned, ...]:
        """One call after the other; the results stay where they are until the next order."""
        told = self.order(do="call", slots=list(slots))
        if len(told) != len(slots):
            raise self._nonsense("another number of calls")
        return told

    def turn(
        self,
        calls: int,
        outputs: int,
        *,
        warm: bool = False,
        padding: int = 0,
        touch: bool = False,
        staged: int = 0,
        patience: float = 0.0,
    ) -> Turn:
        """A timed block of so many calls, of `outputs` each, with the first slots, to be played.

        `warm`: one call with the first slot before it. `padding`: bytes that lie before its results; `touch`: they are written.
        `staged`: slots, the first ones, that then get their values from the stage. `patience`: seconds to wait for an idle machine.
        """
        order = {
            "do": "prepare",
            "calls": calls,
            "outputs": outputs,
            "slots": [0] * warm,
            "padding": padding,
            "touch": touch,
        }
        part = self.slots.layout.part(staged) if self.slots is not None else (0, 0)
        return Turn(self.player, order, self._left, part, patience)

    def played(self, turn: Turn, played: Played) -> float:
        """Seconds that the block took, from outside."""
        self._left -= played.spent
        try:
            told, report = played.told(), played.report()
        except PlayerEndedError as error:
            raise self._ended(error) from error
        except NonsenseError as error:
            raise self._nonsense(error) from error
        if len(self._checked(told).calls) != len(turn.order["slots"]):
            raise self._nonsense("another number of calls")
        if report is not None:
            self._checked(report)
            raise self._nonsense("a report of nothing")
        return played.seconds

    def block(self, calls: int, outputs: int, *, warm: bool = False, padding: int = 0, touch: bool = False) -> float:
        """Seconds of a block of calls with what lies in the first slots; parameters as `turn` has them."""
        turn = self.turn(calls, outputs, warm=warm, padding=padding, touch=touch)
        return self.played(turn, self.player.server.play([turn])[0])

    def input_memory(self) -> list[tuple[int, int]]:
        """Addresses in the player between which inputs lie."""
        if self._input_memory is None:
            self._input_memory = self.player.arena.where_in(self.player.pid)
        return self._input_memory

    def pointers(self, count: int) -> list[int]:
        """Where the outputs of the last block lie: of each call, one behind the other."""
        return self.player.arena.pointers(count)

    def read(self, output: Described, address: int | None = None) -> Elements:
        """The elements of an output, which are taken from where they lie when they are asked for, until the next order.

        One that is not contiguous is taken as a whole. They are as `tensors.comparable` makes them.
        """
        elements = self._elements(output.as_real(), address)
        return Widened(elements) if output.dtype.startswith("float8") else elements

    def _elements(self, output: Described, address: int | None) -> Elements:
        if output.contiguous:
            return _Checked(self, Remote(self.player.pid, output, output.pointer if address is None else address))
        if output.span > max(_WIDEST * output.numel, 1 << 20):
            raise failed(Status.WRONG_SHAPE, self.stage, f"an output with strides {list(output.stride)}")
        size = output.span * DTYPES[output.dtype].itemsize
        if size > _MOST_WHOLE:
            raise failed(
                Status.WRONG_SHAPE,
                self.stage,
                f"an output of {size >> 20} MiB with strides {list(output.stride)}: above {_MOST_WHOLE >> 20} MiB it must be contiguous",
            )
        try:
            return Held(read_tensor(self.player.pid, output, address))
        except UnreadableError as error:
            raise self.unreadable(error) from error

    def read_run(self, output: Described, address: int, start: int, stop: int) -> torch.Tensor:
        """Elements [start, stop), in the order of indices, of a result that lies at `address`."""
        return self.read(output, address).part(start, stop)

    def unreadable(self, error: UnreadableError) -> Exception:
        return failed(Status.CRASHED, self.stage, f"the output could not be read: {error}")

    def _checked(self, reply: Mapping[str, Any]) -> _Reply:
        try:
            told = _Reply.model_validate(reply)
        except ValidationError as error:
            raise self._nonsense("it does not hold what a reply holds") from error
        if told.failure is not None:
            failure = told.failure
            raise failed(failure.status, self.stage, failure.summary or "no message", failure.details)
        return told

    def _ended(self, error: PlayerEndedError) -> Exception:
        ending = error.ending
        failure = verdict_on(ending, self.stage)
        if ending.timeout:
            return failed(failure.status, failure.stage, f"not done after {self._given:g} s", failure.details)
        return failed(failure.status, failure.stage, failure.summary, failure.details)

    def _nonsense(self, why: object) -> Exception:
        return failed(Status.CRASHED, self.stage, f"the result is not what a run writes: {why}")
