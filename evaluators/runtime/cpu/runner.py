"""The evaluator's side of a runner process on the CPU."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from pydantic import ConfigDict, ValidationError

from evaluators.runtime.base import DrawnInputs, Returned, Runner, TimedBlock
from evaluators.runtime.cpu.arena import Slots
from evaluators.runtime.cpu.process_memory import ProcessElements, UnreadableError, read_tensor
from evaluators.runtime.cpu.runner_process import (
    BlockOrder,
    BlockReply,
    MalformedReplyError,
    RunnerEndedError,
    RunnerProcess,
)
from evaluators.runtime.elements import Elements, Float32Elements, TensorElements
from evaluators.runtime.layout import layout_of
from evaluators.runtime.tensors import TensorDescription, load, memory_of
from evaluators.verdict import FailedError, Failure, failed
from kernelevolve.core.evaluation import AtenShare, FallbackShare, Status
from kernelevolve.core.record import Record
from kernelevolve.core.task import AllowAten, Task
from kernelevolve.tasks.structure import Structure
from kernelevolve.tasks.tensor_kinds import DTYPES

_WIDEST = 16
"""The largest ratio of the elements that an output spans in memory to the elements that it has."""
_MOST_WHOLE = 1 << 30
"""The most bytes that an output may span if it is not contiguous, and is therefore read as a whole."""


class _Reply(Record):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _FailureReply(_Reply):
    """The failure of the implementation, which raised or returned an invalid result."""

    status: Literal[
        Status.RUNTIME_ERROR, Status.OUT_OF_MEMORY, Status.INVALID_SOURCE, Status.WRONG_SHAPE, Status.CHEATING
    ]
    summary: str
    details: str


class _DrawnReply(_Reply):
    """The fields of `DrawnInputs`, whose values lie in the runner's folder."""

    inputs: tuple[Mapping[str, Any], ...]
    structure: Structure
    init: tuple[Mapping[str, Any], ...] | None


class AnyReply(_Reply):
    """The reply to any order. The order determines which fields are set."""

    failure: _FailureReply | None = None
    drawn: _DrawnReply | None = None
    result: Mapping[str, Any] | None = None
    calls: tuple[Returned, ...] = ()
    there: bool = True
    aten: AtenShare | None = None
    fallback: FallbackShare | None = None


class _Checked:
    """The elements of an output in the runner. If they cannot be read, the runner has failed."""

    def __init__(self, runner: CpuRunner, remote: ProcessElements) -> None:
        self.shape, self.dtype, self.numel = remote.shape, remote.dtype, remote.numel
        self._runner = runner
        self._remote = remote

    def part(self, start: int, stop: int) -> torch.Tensor:
        try:
            return self._remote.part(start, stop)
        except UnreadableError as error:
            raise self._runner.unreadable(error) from error


class CpuRunner(Runner):
    """A runner process, its inputs, and the time that it may still take."""

    reply_type: type[AnyReply] = AnyReply
    """The type of the replies of the process."""

    def __init__(self, process: RunnerProcess, *, trusted: bool = False) -> None:
        """Take over a runner process. `trusted` says whether it runs the user's own code rather than a kernel."""
        super().__init__()
        self.process = process
        self._trusted = trusted
        self._slots: Slots | None = None
        self._input_memory: list[tuple[int, int]] | None = None
        self._ruled = False
        """Whether the runner holds a kernel of a task that forbids some PyTorch operators."""
        self._untold: dict[str, Any] = {}
        """The layout of the inputs, as a part of the next order, if the process does not know it yet."""
        self._left = 0.0
        """The seconds that its orders may still take."""
        self._given = 0.0
        """The seconds that its orders may take together."""
        self._is_over = False
        """Whether the runner was ended."""

    @property
    def alive(self) -> bool:
        return not self._is_over and self.process.alive

    def allow(self, seconds: float) -> None:
        self._left = self._given = seconds

    def end(self) -> None:
        if not self._is_over:
            self._is_over = True
            self.process.end()

    def load_kernel(
        self,
        source: str,
        task: Task,
        init: Sequence[Mapping[str, Any]] | None,
        *,
        others: Mapping[str, Any] | None = None,
        precision: str | None = None,
    ) -> None:
        self._ruled = task.allow_aten is not AllowAten.ALL
        own = {"task": task.model_dump_json()} if init is None else {}
        self._order(
            do="kernel",
            source=source,
            seed=task.seed,
            init=init,
            allow_aten=task.allow_aten,
            others=others,
            precision=precision,
            **own,
        )

    def load_reference(self, task: Task, *, compiled: bool = False, precision: str | None = None) -> None:
        self._order(do="reference", task=task.model_dump_json(), compiled=compiled, precision=precision)

    def build(self, *, spares: int = 0) -> None:
        self._order(do="build", spares=spares)

    def set_training(self, training: bool) -> None:
        self._order(do="mode", train=training)

    def use_parameters(self, which: Literal["", "made", "named"]) -> bool:
        return self._order(do="parameters", other=which).there

    @property
    def slots(self) -> Slots:
        if self._slots is None:
            raise RuntimeError("the runner has no inputs: call `lay_out` first")
        return self._slots

    def lay_out(self, inputs: Sequence[Mapping[str, Any]], slots: int, structure: Structure | None = None) -> None:
        layout = layout_of(inputs, slots, structure)
        if self._slots is not None and layout == self._slots.layout:
            return
        self.process.arena.use(layout)
        self._slots = Slots(self.process.arena.memory, layout)
        self._untold = {"layout": layout.model_dump()}

    def inputs(self, slot: int) -> list[Any]:
        return self.slots.inputs(slot)

    def write(self, slot: int, values: Sequence[Any]) -> None:
        for source, target in zip(values, self.inputs(slot), strict=True):
            if isinstance(target, torch.Tensor):
                memory_of(target).copy_(memory_of(source))

    def call(self, slots: Sequence[int]) -> tuple[Returned, ...]:
        calls = self._order(do="call", slots=list(slots)).calls
        if len(calls) != len(slots):
            raise self._nonsense("a wrong number of calls")
        return calls

    def read(self, output: TensorDescription, address: int | None = None) -> Elements:
        """Return the elements of an output. An output that is not contiguous is read as a whole."""
        elements = self._elements(output.as_real(), address)
        return Float32Elements(elements) if output.dtype.startswith("float8") else elements

    def addresses(self, count: int) -> list[int]:
        return self.process.arena.pointers(count)

    def input_memory(self) -> list[tuple[int, int]]:
        if self._input_memory is None:
            self._input_memory = self.process.arena.where_in(self.process.pid)
        return self._input_memory

    def check_rule(self) -> None:
        if self._ruled:
            self._order(do="rule")

    def aten_share(self) -> AtenShare | None:
        return self._order(do="aten_share").aten

    def fallback_share(self) -> FallbackShare | None:
        return self._order(do="fallback").fallback

    def draw(self, seed: int) -> DrawnInputs:
        folder = self.process.folder
        drawn = self._order(do="draw", seed=seed, folder=str(folder)).drawn
        if drawn is None:
            raise self._nonsense("no inputs")
        values = tuple(load(meta, folder / f"in{i}") for i, meta in enumerate(drawn.inputs))
        return DrawnInputs(drawn.inputs, values, drawn.structure, drawn.init)

    def host(self, job: str, **arguments: Any) -> None:
        self._order(do="host", job=job, arguments=arguments)

    def ask(self, method: str, **arguments: Any) -> Mapping[str, Any]:
        result = self._order(do="ask", method=method, arguments=arguments).result
        if result is None:
            raise self._nonsense("no result")
        return result

    def block_order(self, block: TimedBlock) -> BlockOrder:
        """Return the order to the fork server for a timed block."""
        order = {
            "do": "prepare",
            "calls": block.calls,
            "outputs": block.outputs,
            "slots": [0] * block.warm,
            "padding": block.padding,
            "touch": block.touch,
            **self._untold,
        }
        self._untold = {}
        staged = self._slots.layout.part(block.staged) if self._slots is not None else (0, 0)
        return BlockOrder(self.process, order, self._left, staged, block.patience)

    def failure_in(self, order: BlockOrder, reply: BlockReply) -> Failure | None:
        """Return the failure of a timed block, or None if it succeeded. The block's time counts toward the runner's limit."""
        self._left -= reply.spent
        try:
            self._finished(order, reply)
        except FailedError as error:
            return error.failure
        return None

    def unreadable(self, error: UnreadableError) -> FailedError:
        """Return the failure for an output that is not at the address that the runner reported."""
        return failed(Status.CRASHED, self.stage, f"the output could not be read: {error}")

    def _finished(self, order: BlockOrder, reply: BlockReply) -> None:
        try:
            prepared, report = reply.prepared(), reply.report()
        except RunnerEndedError as error:
            raise self._ended(error) from error
        except MalformedReplyError as error:
            raise self._nonsense(error) from error
        if len(self._checked(prepared).calls) != len(order.order["slots"]):
            raise self._nonsense("a wrong number of calls")
        if report is not None:
            self._take_report(self._checked(report))

    def _take_report(self, report: AnyReply) -> None:
        """Take what the process reports at the end of a timed block, besides a failure. Raises FailedError: there is nothing to report."""
        del report
        raise self._nonsense("a report without a failure")

    def _order(self, **order: Any) -> AnyReply:
        """Have the runner process carry out one order of `runner_main.py`, and return its reply."""
        begin = time.monotonic()
        told, self._untold = self._untold, {}
        try:
            return self._checked(self.process.ask({**order, **told}, self._left))
        except RunnerEndedError as error:
            raise self._ended(error) from error
        except MalformedReplyError as error:
            raise self._nonsense(error) from error
        finally:
            self._left -= time.monotonic() - begin - self.process.lost_seconds

    def _elements(self, output: TensorDescription, address: int | None) -> Elements:
        if output.contiguous:
            return _Checked(
                self, ProcessElements(self.process.pid, output, output.pointer if address is None else address)
            )
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
            return TensorElements(read_tensor(self.process.pid, output, address))
        except UnreadableError as error:
            raise self.unreadable(error) from error

    def _checked(self, reply: Mapping[str, Any]) -> AnyReply:
        try:
            found = self.reply_type.model_validate(reply)
        except ValidationError as error:
            raise self._nonsense("it lacks the fields of a reply") from error
        if found.failure is not None:
            failure = found.failure
            raise failed(failure.status, self.stage, failure.summary or "no message", failure.details)
        return found

    def _ended(self, error: RunnerEndedError) -> FailedError:
        failure = error.ending.verdict(self.stage, trusted=self._trusted)
        if error.ending.timeout:
            return failed(failure.status, failure.stage, f"not done after {self._given:g} s", failure.details)
        return FailedError(failure)

    def _nonsense(self, why: object) -> FailedError:
        return failed(Status.CRASHED, self.stage, f"the reply of the runner is malformed: {why}")
