"""The interface between the evaluation of kernels and the hardware that runs them.

A `Runtime` starts runners on one target. A `Runner` holds one implementation of a task (the reference, the compiled reference or a
kernel) in a process of its own. Foreign code may control that process, so nothing that it reports is trusted. The correctness checks and
the timing use only these two classes and know nothing of the device. `cpu/` implements them for the processor, and
`tests/conformance/runtime.py` tests what every implementation must do.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from types import TracebackType
from typing import Any, Literal, Protocol, Self

import torch
from pydantic import ConfigDict

from evaluators.runtime.elements import Elements
from evaluators.runtime.interruption import Interruption
from evaluators.runtime.layout import Layout
from evaluators.runtime.tensors import TensorDescription
from evaluators.verdict import FailedError, Failure
from kernelevolve.core.errors import InfrastructureError
from kernelevolve.core.evaluation import AtenShare, FallbackShare, MachineState
from kernelevolve.core.record import Record
from kernelevolve.core.task import Task
from kernelevolve.tasks.structure import Structure


class RuntimeLostError(InfrastructureError):
    """The process that starts runners has died. The runtime starts another one on its next use."""


class Noise(IntEnum):
    """The influence of other programs on a timed block. Lower values are better."""

    QUIET = 0
    """The block did not wait for other programs, and none was ready to run when it began or when it ended."""
    SHARED = 1
    """The block did not wait for other programs, but some ran beside it, or it is unknown whether any did."""
    NOISY = 2
    """The block waited for hardware that another program used."""


class Returned(Record):
    """The result of a call: where its tensors lie in the runner, and how they are nested."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    outputs: tuple[TensorDescription, ...]
    """The tensors of the result."""
    structure: str
    """The nesting of the result, as `structure.described` writes it."""
    as_tuples: str = ""
    """The same with tuples in place of named tuples."""
    values: tuple[bool | int | float | str | None, ...] = ()
    """The plain values in the result."""

    def has(self, structure: str) -> bool:
        """Return whether the result is nested like this. A named tuple is a tuple as well; a tuple is no named tuple."""
        return structure in (self.structure, self.as_tuples)


@dataclass(frozen=True)
class DrawnInputs:
    """Inputs that the task's own code drew in a trusted runner."""

    inputs: tuple[Mapping[str, Any], ...]
    """The description of each leaf, as `tensors.save` writes it."""
    values: tuple[Any, ...]
    """The leaves: tensors in the evaluator's memory, and plain values."""
    structure: Structure
    """The nesting of the list of arguments."""
    init: tuple[Mapping[str, Any], ...] | None
    """The arguments of the constructor as `tensors.encode` writes them, or None if they cannot be encoded."""


class Slots(Protocol):
    """The memory into which the evaluator writes inputs. Each slot holds the inputs of one call."""

    layout: Layout
    """The layout of the inputs."""

    def inputs(self, slot: int) -> list[Any]:
        """Return the leaves of the arguments of a call. The tensors among them are views, to be written to in place."""
        ...

    def memory(self, position: int) -> torch.Tensor:
        """Return the memory of one input in all slots. The input must be a tensor that is not empty.

        Returns:
            A view of shape (slots, elements from the input's first to its last in memory).
        """
        ...


@dataclass(frozen=True)
class TimedBlock:
    """A number of calls of one runner that are timed as a whole. Call i uses the inputs of slot i."""

    runner: Runner
    """The runner that makes the calls."""
    calls: int
    """The number of calls."""
    outputs: int
    """The number of tensors that each call returns."""
    warm: bool = False
    """Whether one call with the first slot is made before the clock starts."""
    padding: int = 0
    """The bytes that are allocated before the results, so that the results lie elsewhere in each block."""
    touch: bool = False
    """Whether the padding is written to."""
    staged: int = 0
    """The number of slots, the first ones, that get the values of the runtime's stage before the clock starts."""
    patience: float = 0.0
    """The seconds that the block may wait for other programs to pause before it begins."""


@dataclass(frozen=True)
class BlockResult:
    """The result of a timed block."""

    seconds: float = 0.0
    """The seconds that the block took, by a clock that the runner cannot reach."""
    lost_seconds: float = 0.0
    """The seconds of the block in which the runner waited for hardware that other programs used; a lower bound."""
    noise: Noise = Noise.SHARED
    """The influence of other programs on the block."""
    waited_well: bool | None = None
    """Whether other programs paused before the block, or None if the block did not wait for that."""
    failure: Failure | None = None
    """The failure of the runner in the block, or None."""

    def checked(self) -> Self:
        """Return this result. Raises FailedError if the runner failed."""
        if self.failure is not None:
            raise FailedError(self.failure)
        return self


class Runner(ABC):
    """One implementation of a task in a process of its own, which is stopped whenever it has no order to carry out.

    Every method raises FailedError if the runner fails; the failure names the current `stage`. Leave the runner's context, or call
    `end`, to end its process.
    """

    def __init__(self, stage: str = "correctness") -> None:
        self.stage = stage

    @property
    @abstractmethod
    def alive(self) -> bool:
        """Whether the runner can take orders."""

    @abstractmethod
    def allow(self, seconds: float) -> None:
        """Limit the seconds that all further orders may take together. Time in which others use its hardware does not count."""

    @abstractmethod
    def end(self) -> None:
        """Kill the process and its descendants, and have its files removed. Calling it again does nothing."""

    # Loading an implementation.

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
        """Execute a kernel's file in the runner.

        Args:
            source: The kernel's file, which defines `ModelNew`.
            task: The task. Its rule about ATen applies from the first `build` on.
            init: The arguments of the constructor as `tensors.encode` writes them, or None to have the task's own code make them.
            others: The fields of `PerturbedParameters`, for `use_parameters`.
            precision: The floating dtype that the model is cast to, or None to leave it as it is.
        """

    @abstractmethod
    def load_reference(self, task: Task, *, compiled: bool = False, precision: str | None = None) -> None:
        """Load the task's own file. Only a trusted runner may do this.

        Args:
            task: The task.
            compiled: Whether torch.compile compiles the model.
            precision: The floating dtype that model and inputs are cast to, as in KernelBench. `draw` needs it.
        """

    @abstractmethod
    def build(self, *, spares: int = 0) -> None:
        """Build a new model from what was loaded.

        Args:
            spares: The number of further times that `build` will be called.
        """

    @abstractmethod
    def set_training(self, training: bool) -> None:
        """Put the model into training or evaluation mode."""

    @abstractmethod
    def use_parameters(self, which: Literal["", "made", "named"]) -> bool:
        """Use a model with other parameters for the calls from now on. Return False if the kernel lacks the reference's parameters.

        Args:
            which: "made" for a model whose constructor ran with the other parameters; "named" for a model that got them afterwards, by
                their names; "" for the first model.
        """

    # Inputs, calls and outputs.

    @property
    @abstractmethod
    def slots(self) -> Slots:
        """The memory of the runner's inputs. Raises RuntimeError before `lay_out`."""

    @abstractmethod
    def lay_out(self, inputs: Sequence[Mapping[str, Any]], slots: int, structure: Structure | None = None) -> None:
        """Lay out the memory for a number of sets of inputs. An equal layout is kept.

        Args:
            inputs: The leaves of the arguments of a call, as `tensors.save` describes them.
            slots: The number of sets of inputs.
            structure: The nesting of the list of arguments.
        """

    @abstractmethod
    def write(self, slot: int, values: Sequence[Any]) -> None:
        """Write the leaves of the arguments of a call into a slot."""

    @abstractmethod
    def inputs(self, slot: int) -> list[Any]:
        """Return the leaves of the arguments of a call as the runner left them."""

    @abstractmethod
    def call(self, slots: Sequence[int]) -> tuple[Returned, ...]:
        """Call the model with the inputs of each slot in turn.

        Returns:
            The result of each call. The results stay in the runner until its next order.
        """

    @abstractmethod
    def read(self, output: TensorDescription, address: int | None = None) -> Elements:
        """Return the elements of an output, in the form of `tensors.comparable`. They are read from the runner on each access.

        Args:
            output: The description of the output.
            address: The address of the output in the runner, or None for the one in its description.
        """

    @abstractmethod
    def addresses(self, count: int) -> list[int]:
        """Return the addresses of the first `count` outputs of the last timed block, in the order of the calls."""

    @abstractmethod
    def input_memory(self) -> list[tuple[int, int]]:
        """Return the address ranges of the inputs in the runner, each as (first, one past the last)."""

    def read_run(self, output: TensorDescription, address: int, start: int, stop: int) -> torch.Tensor:
        """Return elements [start, stop), in the order of indices, of an output at `address`."""
        return self.read(output, address).part(start, stop)

    # Checks, measurements and hosted objects.

    @abstractmethod
    def check_rule(self) -> None:
        """Raise FailedError if PyTorch operators that the task forbids no longer raise in the kernel's process.

        The kernel's process itself answers. This detects a rule that was undone, but not code that also forges the answer.
        """

    @abstractmethod
    def aten_share(self) -> AtenShare | None:
        """Return the share of a call with the first slot that PyTorch's own operators take, or None if the call fails when observed."""

    @abstractmethod
    def fallback_share(self) -> FallbackShare | None:
        """Return the share of its calls that the kernel left to the reference's operations so far, or None if it does not count them."""

    @abstractmethod
    def draw(self, seed: int) -> DrawnInputs:
        """Draw inputs by the task's own code, after `load_reference` with a precision."""

    @abstractmethod
    def host(self, job: str, **arguments: Any) -> None:
        """Create an object in a trusted runner, for `ask`.

        Args:
            job: The class of the object, as `module:Class`.
            **arguments: Plain values for the constructor.
        """

    @abstractmethod
    def ask(self, method: str, **arguments: Any) -> Mapping[str, Any]:
        """Call a method of the object that `host` created, with plain values. Returns its result, a mapping of plain values."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()


class Observation(Protocol):
    """An observation of the machine that begins before a measurement and ends with `finish`."""

    def finish(self, disturbed_above: float) -> MachineState:
        """Return what the machine did since the observation began.

        Args:
            disturbed_above: The share of the hardware that other programs may use before the measurement counts as disturbed.
        """
        ...


class Runtime(ABC):
    """Starts runners on one target and times their blocks. Call `close` in the end."""

    device: str
    """The device on this machine that its runners are timed on, by the name of its lock: `cpu`."""
    device_type: str = "cpu"
    """The type of the device on which tensors lie, in PyTorch's words: `cpu`, `cuda`."""
    threads: int
    """The number of threads of each runner."""
    start_error: float = 0.0
    """The seconds by which the start of a timed block may lengthen it, beyond those of a block without calls."""
    interruption: Interruption
    """A flag that interrupts the current job. While it is set, the busy runner is ended and all orders raise InterruptedJobError."""

    @abstractmethod
    def start(self) -> None:
        """Begin to start the runtime in the background. The first `spawn` waits until it is ready."""

    @abstractmethod
    def close(self) -> None:
        """End all runners and remove their files."""

    @abstractmethod
    def rest(self) -> None:
        """Wait until the runners that were ended are gone and their files are removed."""

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
        """Start a runner that holds no implementation yet.

        Args:
            input_bytes: The bytes of memory for inputs: the largest `Layout.total_bytes` that will be laid out.
            trusted: Whether the runner runs the user's own code rather than a kernel.
            memory_gb: The GiB of memory that it may take, of the device and of the machine alike, or None to allow what is free.
            processor_seconds: The seconds of processor time that it may take.
            environment: Additional environment variables of its process.

        Raises:
            RuntimeLostError: The runtime died. It starts again on its next use.
            InterruptedJobError: The job was interrupted.
            UserError: There is no room for the runner's files.
        """

    @abstractmethod
    def stage(self, layout: Layout) -> Slots:
        """Return slots in the evaluator's own memory, whose values timed blocks copy. No runner can read them. Raises as `spawn` does."""

    @abstractmethod
    def run(self, blocks: Sequence[TimedBlock]) -> list[BlockResult]:
        """Run timed blocks one after the other, while all other runners are stopped.

        Returns:
            The result of each block, in order. A runner's failure is part of its result and is not raised.

        Raises:
            RuntimeLostError: The runtime died.
            InterruptedJobError: The job was interrupted.
        """

    @abstractmethod
    def observe(self) -> Observation:
        """Begin to observe the machine, before a measurement."""

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep this user's other processes from the device for a measurement. The caller holds the device lock exclusively."""
        yield

    def run_one(self, block: TimedBlock) -> float:
        """Run one timed block and return its seconds. Raises FailedError if the runner fails."""
        return self.run([block])[0].checked().seconds

    def interrupt(self) -> None:
        """End the busy runner, and make all orders raise InterruptedJobError until `resume`. Call it from another thread."""
        self.interruption.set()

    def resume(self) -> None:
        """Accept orders again. Call it when the interrupted job has ended."""
        self.interruption.clear()
