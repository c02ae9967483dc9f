"""The seam between evaluating kernels and the hardware that runs them.

A `Runtime` starts runners on one target. A `Runner` holds one implementation of a task (the reference, what torch.compile makes of
it, a kernel) in a process of its own, which foreign code may own by then: nothing that it says is trusted. Correctness and timing see
these two classes and nothing of the device; `cpu/` implements them for the processor, and `tests/conformance/runtime.py` says what
every implementation does.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from types import TracebackType
from typing import Any, Literal, Protocol, Self

import torch
from pydantic import ConfigDict

from evaluators.runtime.elements import Elements
from evaluators.runtime.interruption import Interruption
from evaluators.runtime.layout import Layout
from evaluators.runtime.tensors import Described
from evaluators.verdict import FailedError, Failure
from kernelevolve.core.errors import InfrastructureError
from kernelevolve.core.evaluation import AtenShare, FallbackShare, MachineState
from kernelevolve.core.record import Record
from kernelevolve.core.task import Task
from kernelevolve.tasks.structure import Structure


class RuntimeLostError(InfrastructureError):
    """The process that starts runners is gone. The runtime starts another one when it is asked again."""


class Noise(IntEnum):
    """How much other programs had to do with a timed block; the less, the better."""

    QUIET = 0
    """The block waited for nobody, and nobody else could run when it began and when it ended."""
    SHARED = 1
    """The block waited for nobody; others ran beside it, or that cannot be told."""
    NOISY = 2
    """The block waited for hardware that another program used."""


class Returned(Record):
    """What a call returned: where its tensors lie in the runner, and how they were nested."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    outputs: tuple[Described, ...]
    structure: str
    """The nesting, as `structure.described` writes it."""
    values: tuple[bool | int | float | str | None, ...] = ()
    """The plain values among what was returned."""


@dataclass(frozen=True)
class DrawnInputs:
    """Inputs that the task's own code has drawn in a trusted runner."""

    inputs: tuple[Mapping[str, Any], ...]
    """A description of each leaf, as `tensors.save` writes it."""
    values: tuple[Any, ...]
    """The leaves themselves: tensors in the evaluator's memory, and plain values."""
    structure: Structure
    """The nesting of the list of arguments."""
    init: tuple[Mapping[str, Any], ...] | None
    """Arguments of the constructor as `tensors.encode` writes them; None where they cannot be written."""


class Slots(Protocol):
    """Where the evaluator writes inputs: slot by slot, each with the inputs of one call."""

    layout: Layout

    def inputs(self, slot: int) -> list[Any]:
        """The leaves of the arguments of a call; the tensors among them are written to in place."""
        ...

    def memory(self, position: int) -> torch.Tensor:
        """The memory of one input that is a tensor and not empty: (slots, elements from its first to its last)."""
        ...


@dataclass(frozen=True)
class TimedBlock:
    """Some calls of one runner that are timed as a whole, each with the inputs of a slot of its own, from the first slot on."""

    runner: Runner
    calls: int
    outputs: int
    """Tensors that each call returns."""
    warm: bool = False
    """Whether a call with the first slot comes before the clock starts."""
    padding: int = 0
    """Bytes that are allocated before the results, so that these lie elsewhere in each block."""
    touch: bool = False
    """Whether the padding is written to."""
    staged: int = 0
    """Slots, the first ones, that get the values of the runtime's stage before the clock starts."""
    patience: float = 0.0
    """Seconds that the block may wait for other programs to pause before it begins."""


@dataclass(frozen=True)
class BlockResult:
    """What came of a timed block."""

    seconds: float = 0.0
    """By a clock that the runner cannot reach."""
    lost_seconds: float = 0.0
    """Seconds of these, at least, in which the runner waited for hardware that others used."""
    noise: Noise = Noise.SHARED
    waited_well: bool | None = None
    """Whether other programs paused before the block; None where that was not waited for."""
    failure: Failure | None = None
    """The verdict on a runner that failed in the block."""

    def checked(self) -> Self:
        """The same. Raises FailedError where the runner failed."""
        if self.failure is not None:
            raise FailedError(self.failure)
        return self


class Runner(ABC):
    """One implementation of a task in a process of its own, idle whenever it is not asked.

    Every method raises FailedError where the runner fails, with a verdict that names the current `stage`. Leave the runner's context,
    or call `end`, to end its process.
    """

    def __init__(self, stage: str = "correctness") -> None:
        self.stage = stage

    @property
    @abstractmethod
    def alive(self) -> bool:
        """Whether it can be asked."""

    @abstractmethod
    def allow(self, seconds: float) -> None:
        """Limit the time of everything that is asked from now on, together. Time in which others hold its hardware does not count."""

    @abstractmethod
    def end(self) -> None:
        """Kill its process and whatever descends from it, and have its files removed. Ending twice does nothing."""

    # What the runner holds.

    @abstractmethod
    def load_kernel(
        self,
        source: str,
        task: Task,
        init: Sequence[Mapping[str, Any]] | None,
        *,
        others: Mapping[str, Any] | None = None,
        precision: str | None = None,
    ) -> None:
        """Have a kernel's file executed.

        Args:
            source: The kernel's file, which defines `ModelNew`.
            task: The task; its rule about ATen holds from the first `build` on.
            init: Arguments of the constructor as `tensors.encode` writes them; None has the task's own code make them.
            others: Fields of `OtherParameters`, for `use_parameters`.
            precision: The floating dtype that the model is cast to; None leaves it as it is.
        """

    @abstractmethod
    def load_reference(self, task: Task, *, compiled: bool = False, precision: str | None = None) -> None:
        """Have the task's own file loaded, by a trusted runner alone.

        Args:
            task: The task.
            compiled: Whether torch.compile compiles the model.
            precision: The floating dtype that model and inputs are cast to, as KernelBench does; `draw` is for that alone.
        """

    @abstractmethod
    def build(self, *, spares: int = 0) -> None:
        """Make a new model of what was loaded. `spares`: how often more it will be built."""

    @abstractmethod
    def set_training(self, training: bool) -> None:
        """Put the model into training or evaluation mode."""

    @abstractmethod
    def use_parameters(self, which: Literal["", "made", "named"]) -> bool:
        """Call a model with other parameters from now on: `made` with them, given them by `named`; "" goes back to the first model.

        Returns False where there is none: the kernel has no parameters of the reference's names.
        """

    # Inputs, calls and outputs.

    @property
    @abstractmethod
    def slots(self) -> Slots:
        """Where its inputs are written. Raises RuntimeError before `lay_out`."""

    @abstractmethod
    def lay_out(self, inputs: Sequence[Mapping[str, Any]], slots: int, structure: Structure | None = None) -> None:
        """Make room for some sets of inputs; the same layout as before is kept. Parameters are those of `layout_of`."""

    @abstractmethod
    def write(self, slot: int, values: Sequence[Any]) -> None:
        """Put the leaves of the arguments of a call into a slot."""

    @abstractmethod
    def inputs(self, slot: int) -> list[Any]:
        """The leaves of the arguments of a call as the runner left them."""

    @abstractmethod
    def call(self, slots: Sequence[int]) -> tuple[Returned, ...]:
        """One call after the other; the results stay where they are until the runner is asked for something else."""

    @abstractmethod
    def read(self, output: Described, address: int | None = None) -> Elements:
        """The elements of an output, as `tensors.comparable` makes them, taken from where they lie when they are asked for."""

    @abstractmethod
    def addresses(self, count: int) -> list[int]:
        """Where the outputs of the last timed block lie: of each call, one after the other."""

    @abstractmethod
    def input_memory(self) -> list[tuple[int, int]]:
        """Addresses in the runner between which inputs lie."""

    def read_run(self, output: Described, address: int, start: int, stop: int) -> torch.Tensor:
        """Elements [start, stop), in the order of indices, of a result that lies at `address`."""
        return self.read(output, address).part(start, stop)

    # What else is asked of it.

    @abstractmethod
    def check_rule(self) -> None:
        """Raise FailedError where PyTorch's own compute, which the task forbids, no longer raises in the kernel's process.

        The kernel's process answers: that finds a rule that was undone, not one that was undone by code which answers in its place.
        """

    @abstractmethod
    def aten_share(self) -> AtenShare | None:
        """How much of a call with the first slot is PyTorch's own work; None where the kernel does not run when it is watched."""

    @abstractmethod
    def fallback_share(self) -> FallbackShare | None:
        """How much of its calls the kernel has left to the reference's own operations so far; None where it does not count."""

    @abstractmethod
    def draw(self, seed: int) -> DrawnInputs:
        """Have the task's own code draw inputs, after `load_reference` with a precision."""

    @abstractmethod
    def host(self, job: str, **arguments: Any) -> None:
        """Have a trusted runner make an object, `module:Class`, of these plain arguments; `ask` calls its methods."""

    @abstractmethod
    def ask(self, method: str, **arguments: Any) -> Mapping[str, Any]:
        """Call a method of the hosted object with plain arguments. Returns what it returned, a mapping of plain values."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()


class Observation(Protocol):
    """A look at the machine that a measurement begins with."""

    def finish(self, disturbed_above: float) -> MachineState:
        """What happened since. `disturbed_above`: the share of the hardware that other programs may use."""
        ...


class Runtime(ABC):
    """Starts runners on one target, and times their blocks. `close` it."""

    threads: int
    """Of each runner."""
    interruption: Interruption
    """While it is set, the runner that is busy is ended, and whatever is asked raises InterruptedJobError."""

    @abstractmethod
    def start(self) -> None:
        """Begin starting; the first runner waits until the runtime is there."""

    @abstractmethod
    def close(self) -> None:
        """End every runner, and remove the files."""

    @abstractmethod
    def rest(self) -> None:
        """Return once runners that were ended are gone, with their files."""

    @abstractmethod
    def spawn(
        self,
        input_bytes: int,
        *,
        trusted: bool,
        memory_gb: float | None,
        processor_seconds: float,
        environment: Mapping[str, str] | None = None,
    ) -> Runner:
        """A new runner that holds nothing yet.

        Args:
            input_bytes: Memory for inputs, the largest `Layout.total_bytes` that will be laid out.
            trusted: Whether it runs the user's own code rather than a kernel.
            memory_gb: Memory that it may take, of device and machine alike; None allows what is free.
            processor_seconds: Processor time that it may take.
            environment: Variables of its process.

        Raises:
            RuntimeLostError: The runtime died; it starts again when it is asked again.
            InterruptedJobError: The job was interrupted.
            UserError: There is no room for the runner's files.
        """

    @abstractmethod
    def stage(self, layout: Layout) -> Slots:
        """Slots of the evaluator's own, whose values timed blocks take over; no runner sees them. Raises as `spawn` does."""

    @abstractmethod
    def run(self, blocks: Sequence[TimedBlock]) -> list[BlockResult]:
        """One block after the other, while the other runners stand still. Raises as `spawn` does, never for what a runner does."""

    @abstractmethod
    def observe(self) -> Observation:
        """Look at the machine before a measurement."""

    def run_one(self, block: TimedBlock) -> float:
        """Seconds of a block. Raises FailedError where the runner fails."""
        return self.run([block])[0].checked().seconds

    def interrupt(self) -> None:
        """From another thread: end the runner that is busy, and have everything raise InterruptedJobError until `resume`."""
        self.interruption.set()

    def resume(self) -> None:
        """Take work again, once the job that was interrupted has ended."""
        self.interruption.clear()
