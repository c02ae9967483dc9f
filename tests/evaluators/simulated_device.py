"""A runtime of a device that does not exist: slow, with memory of its own and work that goes on after a call has returned.

Kernels run in this process, on a thread for each runner. It shows that correctness and timing need nothing but the seam, and lets
tests judge many kernels without a process for each.
"""

from __future__ import annotations

import importlib
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as LateError
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, TypeVar

import torch

from evaluators.runtime import tensors
from evaluators.runtime.base import BlockResult, DrawnInputs, Noise, Observation, Returned, Runner, Runtime, TimedBlock
from evaluators.runtime.cpu.drawing import Drawer
from evaluators.runtime.elements import Elements, TensorElements
from evaluators.runtime.interruption import Interruption
from evaluators.runtime.layout import Layout, layout_of
from evaluators.runtime.parameters import PerturbedParameters, built_by_names, perturbed
from evaluators.runtime.tensors import TensorDescription
from evaluators.verdict import FailedError, failed
from kernelevolve.core.evaluation import AtenShare, FallbackShare, MachineState, Status
from kernelevolve.core.task import Task
from kernelevolve.tasks.loading import LoadedTask, build_model, load_module
from kernelevolve.tasks.structure import Structure, rebuild_arguments
from kernelevolve.tasks.tensor_kinds import DTYPES

_T = TypeVar("_T")
_GLANCE = 0.01
QUIET = MachineState(
    seconds=1.0,
    load=0.0,
    foreign_share=0.0,
    steal_share=0.0,
    pressure_share=None,
    clock_mhz=None,
    thermal_throttles=None,
    cgroup_throttles=None,
    disturbed=False,
    repeats=0,
)


@dataclass
class HostSlots:
    """Memory of this process that inputs are written to."""

    layout: Layout
    rows: dict[int, torch.Tensor] = field(init=False)

    def __post_init__(self) -> None:
        self.rows = {}
        for i, meta in enumerate(self.layout.inputs):
            count = 0 if "value" in meta else tensors.span_of(meta["shape"], meta["stride"])
            if count:
                self.rows[i] = torch.zeros((self.layout.slots, count), dtype=DTYPES[meta["dtype"]])

    def memory(self, position: int) -> torch.Tensor:
        return self.rows[position]

    def inputs(self, slot: int) -> list[Any]:
        return [self._leaf(i, slot) for i in range(len(self.layout.inputs))]

    def _leaf(self, position: int, slot: int) -> Any:
        meta = self.layout.inputs[position]
        if "value" in meta:
            return meta["value"]
        if position not in self.rows:
            return torch.empty_strided(meta["shape"], meta["stride"], dtype=DTYPES[meta["dtype"]])
        return self.rows[position][slot].as_strided(meta["shape"], meta["stride"])


class SimulatedRuntime(Runtime):
    """`latency`: seconds that each way to the device and back takes."""

    def __init__(self, latency: float = 0.0) -> None:
        self.device = "simulated"
        self.threads = 1
        self.interruption = Interruption()
        self.latency = latency
        self.runners: list[SimulatedRunner] = []
        self._stage: HostSlots | None = None

    def start(self) -> None:
        """It is always there."""

    def close(self) -> None:
        for runner in self.runners:
            runner.end()
        self.interruption.close()

    def rest(self) -> None:
        """What is ended is gone at once."""

    def spawn(
        self,
        input_bytes: int,
        *,
        trusted: bool,
        memory_gb: float | None,
        processor_seconds: float,
        environment: Mapping[str, str] | None = None,
    ) -> SimulatedRunner:
        del input_bytes, memory_gb, processor_seconds, environment
        self.interruption.check()
        self.runners.append(SimulatedRunner(self, trusted=trusted))
        return self.runners[-1]

    def stage(self, layout: Layout) -> HostSlots:
        self._stage = HostSlots(layout)
        return self._stage

    def run(self, blocks: Sequence[TimedBlock]) -> list[BlockResult]:
        return [self._run(block) for block in blocks]

    def observe(self) -> Observation:
        return _Still()

    def _run(self, block: TimedBlock) -> BlockResult:
        runner = block.runner
        assert isinstance(runner, SimulatedRunner)
        try:
            seconds = runner.timed(block, self._stage)
        except FailedError as error:
            return BlockResult(failure=error.failure)
        return BlockResult(seconds, 0.0, Noise.QUIET, None if block.patience == 0 else True)


class _Still:
    def finish(self, disturbed_above: float) -> MachineState:
        del disturbed_above
        return QUIET


class SimulatedRunner(Runner):
    """One implementation, called on a thread of its own."""

    def __init__(self, runtime: SimulatedRuntime | None = None, *, trusted: bool = False) -> None:
        super().__init__()
        self._runtime = runtime
        self._trusted = trusted
        self._queue = ThreadPoolExecutor(1)
        self._ended = False
        self._left = 600.0
        self._slots: HostSlots | None = None
        self._device: dict[int, list[Any]] = {}
        """The inputs of a slot as they lie on the device."""
        self._uploaded: set[int] = set()
        self._model: Any = None
        self._first: Any = None
        self._others: PerturbedParameters | None = None
        self._make: Callable[[], Any] = lambda: None
        self._seeded: Callable[[int], Any] | None = None
        self._drawer: Drawer | None = None
        self._hosted: Any = None
        self._names: Mapping[str, Any] = {}
        self._results: list[tensors.Result] = []
        self._block: list[torch.Tensor] = []

    @property
    def alive(self) -> bool:
        return not self._ended

    def allow(self, seconds: float) -> None:
        self._left = seconds

    def end(self) -> None:
        self._ended = True
        self._queue.shutdown(wait=False, cancel_futures=True)

    def load_kernel(
        self,
        source: str,
        task: Task,
        init: Sequence[Mapping[str, Any]] | None,
        *,
        others: Mapping[str, Any] | None = None,
        precision: str | None = None,
    ) -> None:
        module = ModuleType("candidate")
        self._done(lambda: exec(compile(source, "candidate.py", "exec"), module.__dict__), "loading the file")
        if not hasattr(module, "ModelNew"):
            raise failed(Status.INVALID_SOURCE, self.stage, "the file defines no class ModelNew")
        self._names = vars(module)
        self._others = None if others is None else PerturbedParameters.model_validate(others)
        arguments = [tensors.decode(each) for each in init] if init is not None else load_module(task).get_init_inputs()

        def seeded(seed: int) -> Any:
            torch.manual_seed(seed)
            model = module.ModelNew(*arguments)
            return model if precision is None else model.to(dtype=DTYPES[precision])

        self._seeded = seeded
        self._make = lambda: seeded(task.seed)

    def load_reference(self, task: Task, *, compiled: bool = False, precision: str | None = None) -> None:
        assert self._trusted
        del compiled
        loaded: LoadedTask = load_module(task)
        self._names = vars(loaded.module)
        self._make = lambda: build_model(loaded, task.seed)
        if precision is not None:
            self._drawer = Drawer(loaded, DTYPES[precision])
            self._make = self._drawer.model

    def build(self, *, spares: int = 0) -> None:
        del spares
        self._results, self._first = [], None
        self._model = self._done(self._make, "the constructor of ModelNew")

    def set_training(self, training: bool) -> None:
        self._model.train(training)

    def use_parameters(self, which: Literal["", "made", "named"]) -> bool:
        if self._first is not None:
            self._model, self._first = self._first, None
        if not which:
            return True
        found = self._done(lambda: self._other(named=which == "named"), "with other parameters")
        if found is not None:
            self._first, self._model = self._model, found
        return found is not None

    def _other(self, *, named: bool) -> Any:
        assert self._others is not None
        assert self._seeded is not None
        if named:
            return built_by_names(self._seeded(self._others.seed), self._others)
        with perturbed(self._others) as state:
            return state.mend(self._seeded(self._others.seed))

    @property
    def slots(self) -> HostSlots:
        if self._slots is None:
            raise RuntimeError("inputs before `lay_out`")
        return self._slots

    def lay_out(self, inputs: Sequence[Mapping[str, Any]], slots: int, structure: Structure | None = None) -> None:
        layout = layout_of(inputs, slots, structure)
        if self._slots is None or layout != self._slots.layout:
            self._slots = HostSlots(layout)
            self._results, self._uploaded = [], set()
            everything = HostSlots(layout)
            self._device = {slot: everything.inputs(slot) for slot in range(slots)}

    def write(self, slot: int, values: Sequence[Any]) -> None:
        for source, target in zip(values, self.slots.inputs(slot), strict=True):
            if isinstance(target, torch.Tensor):
                tensors.memory_of(target).copy_(tensors.memory_of(source))

    def inputs(self, slot: int) -> list[Any]:
        if slot not in self._uploaded:
            self._upload(slot, self.slots)
        return [x.clone() if isinstance(x, torch.Tensor) else x for x in self._device[slot]]

    def call(self, slots: Sequence[int]) -> tuple[Returned, ...]:
        for slot in set(slots):
            self._upload(slot, self.slots)
        self._results = [self._taken_apart(self._done(lambda s=slot: self._called(s), "forward")) for slot in slots]
        return tuple(map(_returned, self._results))

    def read(self, output: TensorDescription, address: int | None = None) -> Elements:
        self._travel()
        wanted = output.pointer if address is None else address
        there = [tensor for result in self._results for tensor in result.tensors] + self._block
        for tensor in there:
            if tensor.data_ptr() == wanted and tuple(tensor.shape) == output.shape:
                return TensorElements(tensors.comparable(tensor))
        raise failed(Status.CRASHED, self.stage, "the output could not be read: it is not there")

    def addresses(self, count: int) -> list[int]:
        return [tensor.data_ptr() for tensor in self._block[:count]]

    def input_memory(self) -> list[tuple[int, int]]:
        leaves = (x for slot in self._device.values() for x in slot if isinstance(x, torch.Tensor) and x.numel())
        return [(x.data_ptr(), x.data_ptr() + tensors.memory_of(x).nbytes) for x in leaves]

    def check_rule(self) -> None:
        """There is none."""

    def aten_share(self) -> AtenShare | None:
        return None

    def fallback_share(self) -> FallbackShare | None:
        return None

    def draw(self, seed: int) -> DrawnInputs:
        assert self._drawer is not None
        with tempfile.TemporaryDirectory() as folder:
            drawn = self._drawer.draw(seed, Path(folder))["drawn"]
            values = tuple(tensors.load(meta, Path(folder, f"in{i}")) for i, meta in enumerate(drawn["inputs"]))
        return DrawnInputs(tuple(drawn["inputs"]), values, Structure.model_validate(drawn["structure"]), drawn["init"])

    def host(self, job: str, **arguments: Any) -> None:
        module, _, name = job.partition(":")
        self._hosted = getattr(importlib.import_module(module), name)(**arguments)

    def ask(self, method: str, **arguments: Any) -> Mapping[str, Any]:
        return self._done(lambda: getattr(self._hosted, method)(**arguments), method)

    def timed(self, block: TimedBlock, stage: HostSlots | None) -> float:
        """Seconds of a block: its calls are put into the queue one after the other, and the clock stops when the last is done."""
        for slot in range(block.staged, max(block.calls, 1)):
            self._upload(slot, self.slots)
        if block.warm:
            self._taken_apart(self._done(lambda: self._called(0), "forward"))
        for slot in range(block.staged):
            assert stage is not None
            self._upload(slot, stage)
        begin = time.perf_counter()
        launched = [self._submit(lambda s=slot: self._called(s)) for slot in range(block.calls)]
        results = [self._finished(each, "a timed call") for each in launched]
        seconds = time.perf_counter() - begin
        parts = [self._taken_apart(result) for result in results]
        if any(len(part.tensors) != block.outputs for part in parts):
            raise failed(Status.RUNTIME_ERROR, self.stage, "a timed call returned another number of tensors")
        self._block = [tensor for part in parts for tensor in part.tensors]
        return max(seconds, 1e-9)

    def _upload(self, slot: int, source: HostSlots) -> None:
        self._travel()
        self._uploaded.add(slot)
        for value, target in zip(source.inputs(slot), self._device[slot], strict=True):
            if isinstance(target, torch.Tensor):
                tensors.memory_of(target).copy_(tensors.memory_of(value))

    def _called(self, slot: int) -> Any:
        leaves, nested = self._device[slot], self.slots.layout.structure
        with torch.no_grad():
            return self._model(*(leaves if nested is None else rebuild_arguments(nested, leaves, self._names)))

    def _taken_apart(self, result: Any) -> tensors.Result:
        try:
            return tensors.flatten_result(result)
        except TypeError as error:
            raise failed(Status.WRONG_SHAPE, self.stage, f"forward {error}") from error

    def _travel(self) -> None:
        if self._runtime is not None and self._runtime.latency:
            time.sleep(self._runtime.latency)

    def _done(self, work: Callable[[], _T], what: str) -> _T:
        self._travel()
        return self._finished(self._submit(work), what)

    def _submit(self, work: Callable[[], _T]) -> Future[_T]:
        if self._runtime is not None:
            self._runtime.interruption.check()
        if self._ended:
            raise failed(Status.CRASHED, self.stage, "it has ended")
        return self._queue.submit(work)

    def _finished(self, future: Future[_T], what: str) -> _T:
        begin = time.monotonic()
        while True:
            try:
                return future.result(_GLANCE)
            except LateError:
                if future.done():
                    raise
                if time.monotonic() - begin > self._left:
                    self.end()
                    raise failed(Status.TIMEOUT, self.stage, f"not done after {self._left:g} s") from None
                if self._runtime is not None and self._runtime.interruption.is_set:
                    self.end()
                    self._runtime.interruption.check()
            except FailedError:
                raise
            except Exception as error:
                raise failed(
                    Status.RUNTIME_ERROR, self.stage, f"{what} raised {type(error).__name__}: {error}"
                ) from error


def _returned(result: tensors.Result) -> Returned:
    described = tuple(TensorDescription(**tensors.describe(tensor)) for tensor in result.tensors)
    return Returned(
        outputs=described, values=tuple(result.values), structure=result.structure, as_tuples=result.as_tuples
    )
