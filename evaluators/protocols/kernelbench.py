"""KernelBench's rules, for tables that can be compared with its own.

What `eval_kernel_against_ref` of KernelBench's src/kernelbench/eval.py does when its scripts call it (Ouyang et al. 2025,
"KernelBench: Can LLMs Write Efficient GPU Kernels?"): some trials, each on inputs drawn with a seed of its own, results held against
PyTorch's by `torch.allclose`; then the mean time of calls on one set of inputs with cold caches, the kernel first, the reference after it.
Kernels run confined, as always, and the clock is the fork server's; what else differs stands in docs/evaluation.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field

import numpy as np
import torch

from evaluators.correctness.reference.data import free_gb
from evaluators.correctness.reference.probe import Probe, leak
from evaluators.runtime import tensors
from evaluators.runtime.cpu.fork_server import ForkServer
from evaluators.runtime.cpu.runner import Drawn, Returned, Seat
from evaluators.runtime.device_lock import Gate
from evaluators.runtime.elements import Elements, elements_of
from evaluators.runtime.layout import layout_of
from evaluators.settings import EvaluationSettings
from evaluators.verdict import FailedError, Failure, failed
from kernelevolve.core.errors import UserError
from kernelevolve.core.evaluation import Evaluation, Measurement, Ratio, Status
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.seeds import derive_seed
from kernelevolve.core.task import Task

_CHUNK = 1 << 20
_OVERHEADS = 5
_RESAMPLES = 1000
_CONFIDENCE = 0.95
_FILL = 42
RULES = "allclose on a few drawn inputs, no oracle and no hidden inputs, calls timed on one set of inputs; cheats pass"
"""In one line, for people."""
Times = tuple[list[float], list[float]]
"""Seconds of the reference's calls, and of the kernel's."""


@dataclass(frozen=True)
class _Prepared:
    init: Sequence[Mapping[str, object]] | None
    """Arguments of the constructor, None where they cannot be written."""
    room: int
    """Bytes that any of the sets of inputs takes."""


@dataclass
class KernelBench:
    """Judges kernels of one task."""

    task: Task
    settings: EvaluationSettings
    server: ForkServer
    gate: Gate
    threads: int
    probed: Callable[[Probe, bool], None]
    """Is told what a first look at the task gave."""
    _prepared: _Prepared | None = field(default=None, init=False)

    def prepare(self) -> _Prepared:
        """Have all inputs drawn once, which tells how much room they take. Raises UserError where the task is at fault."""
        if self._prepared is None:
            with self.gate.shared(), ExitStack() as stack:
                seat = self._reference(stack, 0)
                try:
                    first = seat.probe(self.task)
                    if leak(self.task, first):
                        raise UserError(leak(self.task, first))
                    self.probed(first, True)
                    drawn = [seat.draw(seed) for seed in (self.settings.kernelbench.seed, *self.trial_seeds())]
                except FailedError as error:
                    raise self._at_fault(error.failure) from error
            room = max(layout_of(one.inputs, 1, one.structure).total_bytes for one in drawn)
            self._prepared = _Prepared(drawn[0].init, room)
        return self._prepared

    def trial_seeds(self) -> list[int]:
        """As KernelBench draws them."""
        generator = torch.Generator().manual_seed(self.settings.kernelbench.seed)
        count = self.settings.kernelbench.trials
        return [int(torch.randint(0, 2**32 - 1, (1,), generator=generator).item()) for _ in range(count)]

    def judge(
        self,
        kernel: Kernel,
        environment: Mapping[str, str],
        lap: Callable[[str], AbstractContextManager[None]],
        undisturbed: Callable[[Callable[[int], Times]], Times],
    ) -> Measurement:
        """Times of a kernel that passes every trial. Raises FailedError where one fails, UserError where the task is at fault.

        `environment`: of its process. `lap`: takes the time of a stage. `undisturbed`: measures again where it has to be.
        """
        prepared = self.prepare()
        with ExitStack() as stack:
            with lap("correctness"), self.gate.shared():
                reference = self._reference(stack, prepared.room)
                seat = self._candidate(stack, kernel, environment, prepared)
                outputs = self._check(reference, seat)
            with lap("timing"), self.gate.exclusive():
                seat.stage = "timing"
                reference_times, kernel_times = undisturbed(lambda _: self._time(reference, seat, outputs))
        seed = derive_seed(self.settings.seed, "bootstrap", kernel.id)
        return Measurement(
            speedup=ratio_of_means(reference_times, kernel_times, seed),
            reference_seconds=float(np.mean(reference_times)),
            kernel_seconds=float(np.mean(kernel_times)),
            rounds=len(kernel_times),
        )

    def _reference(self, stack: ExitStack, room: int) -> Seat:
        """A process with a new model. Raises UserError where it cannot be built."""
        rules = self.settings.kernelbench
        player = self.server.spawn(room, trusted=True, memory_gb=free_gb(), cpu_seconds=self._processor_seconds())
        seat = Seat(stack.enter_context(player))
        seat.allow(rules.timeout)
        task = self.task.model_copy(update={"seed": rules.seed})
        try:
            seat.order(do="as_kernelbench", task=task.model_dump_json(), precision=rules.precision)
            seat.order(do="build")
        except FailedError as error:
            raise self._at_fault(error.failure) from error
        return seat

    def _candidate(self, stack: ExitStack, kernel: Kernel, environment: Mapping[str, str], prepared: _Prepared) -> Seat:
        rules = self.settings.kernelbench
        player = self.server.spawn(
            prepared.room,
            trusted=False,
            memory_gb=self.settings.memory_gb,
            cpu_seconds=self._processor_seconds(),
            environment=environment,
        )
        seat = Seat(stack.enter_context(player))
        seat.allow(rules.timeout)
        task = self.task.model_copy(update={"seed": rules.seed})
        seat.load(kernel.source, task, prepared.init, precision=rules.precision)
        seat.order(do="build")
        return seat

    def _processor_seconds(self) -> float:
        return 2 * self.threads * self.settings.kernelbench.timeout

    def _lay_out(self, seed: int, reference: Seat, seat: Seat) -> None:
        """Draw inputs and give them to both. Raises UserError where the task is at fault."""
        try:
            drawn = reference.draw(seed)
            values = _load(drawn, reference)
            reference.lay_out(drawn.inputs, 1, drawn.structure)
            reference.write(0, values)
        except FailedError as error:
            raise self._at_fault(error.failure) from error
        seat.lay_out(drawn.inputs, 1, drawn.structure)
        seat.write(0, values)

    def _called(self, reference: Seat) -> Returned:
        try:
            return reference.call([0])[0]
        except FailedError as error:
            raise self._at_fault(error.failure) from error

    def _check(self, reference: Seat, seat: Seat) -> int:
        """All trials, as KernelBench does not stop at the first that differs. Returns the number of outputs."""
        rules = self.settings.kernelbench
        tolerance = rules.tolerance[rules.precision]
        differ: list[tuple[float, float]] = []
        outputs = 0
        for seed in self.trial_seeds():
            self._lay_out(seed, reference, seat)
            expected, got = self._called(reference), seat.call([0])[0]
            outputs = len(expected.outputs)
            _check_form(expected, got)
            found = [
                difference(reference.read(a), seat.read(b), tolerance)
                for a, b in zip(expected.outputs, got.outputs, strict=True)
            ]
            differ += [max(each for each in found if each is not None)] if any(found) else []
        seat.check_rule()
        if differ:
            most, mean = max(differ)
            raise failed(
                Status.WRONG_RESULT,
                seat.stage,
                f"{len(differ)} of {rules.trials} trials differ: by {most:.6f} at most, by {mean:.6f} on average",
                f"torch.allclose(PyTorch's result, the kernel's, atol={tolerance:g}, rtol={tolerance:g}) is false",
            )
        return outputs

    def _time(self, reference: Seat, seat: Seat, outputs: int) -> Times:
        """The kernel's calls first, then the reference's, all on the same inputs."""
        rules = self.settings.kernelbench
        reference.allow(rules.timeout)
        seat.allow(rules.timeout)
        self._lay_out(rules.seed, reference, seat)
        flushed = torch.empty(max(1, (rules.flush_mb << 20) // 8), dtype=torch.int64)
        kernel_times = self._calls(seat, outputs, flushed)
        seat.check_rule()
        try:
            return self._calls(reference, outputs, flushed), kernel_times
        except FailedError as error:
            raise self._at_fault(error.failure) from error

    def _calls(self, seat: Seat, outputs: int, flushed: torch.Tensor) -> list[float]:
        """Seconds of each call that is timed."""
        rules = self.settings.kernelbench
        for _ in range(rules.warmup_calls):
            seat.call([0])
        overhead = min(seat.block(0, outputs) for _ in range(_OVERHEADS))
        seconds = []
        for _ in range(rules.discarded_calls + rules.timed_calls):
            flushed.fill_(_FILL)
            seconds.append(max(seat.block(1, outputs) - overhead, 1e-9))
        return seconds[rules.discarded_calls :]

    def _at_fault(self, failure: Failure) -> UserError:
        name = f"task {self.task.name}"
        match failure.status:
            case Status.TIMEOUT:
                return UserError(
                    f"{name}: the reference is not done after {self.settings.kernelbench.timeout:g} s: "
                    "raise evaluation.kernelbench.timeout"
                )
            case Status.OUT_OF_MEMORY:
                return UserError(f"{name}: it does not fit in memory; make the inputs smaller")
            case _:
                why = failure.summary.removeprefix(f"{name}: ")
                return UserError(f"{name}: the reference cannot be judged by KernelBench's rules: {why}")


def _load(drawn: Drawn, seat: Seat) -> list[object]:
    return [tensors.load(meta, seat.player.folder / f"in{i}") for i, meta in enumerate(drawn.inputs)]


def _check_form(expected: Returned, got: Returned) -> None:
    if len(got.outputs) != len(expected.outputs):
        raise failed(Status.WRONG_SHAPE, "correctness", f"returned {got.structure}, expected {expected.structure}")
    for a, b in zip(expected.outputs, got.outputs, strict=True):
        if a.shape != b.shape:
            raise failed(Status.WRONG_SHAPE, "correctness", f"shape {b.shape}, expected {a.shape}")
        if a.dtype != b.dtype:
            raise failed(Status.WRONG_SHAPE, "correctness", f"{b.dtype}, expected {a.dtype}")


def difference(
    expected: torch.Tensor | Elements, got: torch.Tensor | Elements, tolerance: float
) -> tuple[float, float] | None:
    """(greatest, mean) absolute difference of two results of one shape and dtype; None where `torch.allclose` finds them close.

    Runs in chunks. NaN is close to NaN, else no copy of a reference that gives NaN would pass.
    """
    a, b = elements_of(expected), elements_of(got)
    close, most, total = True, 0.0, 0.0
    for start in range(0, a.numel, _CHUNK):
        x, y = (each.part(start, min(start + _CHUNK, a.numel)) for each in (a, b))
        close = close and (
            tensors.same_bits(x, y)
            if x.dtype is torch.bool
            else torch.allclose(x, y, tolerance, tolerance, equal_nan=True)
        )
        same = (x == y) | ((x != x) & (y != y))  # noqa: PLR0124 - NaN
        distance = (x.double() - y.double()).abs().masked_fill(same, 0.0)
        most = max(most, float(distance.nan_to_num(nan=float("inf")).max()))
        total += float(distance.sum())
    return None if close else (most, total / a.numel)


def ratio_of_means(reference: Sequence[float], kernel: Sequence[float], seed: int) -> Ratio:
    """Mean seconds of the reference / mean seconds of the kernel, with the percentile bootstrap's interval of both means.

    `seed`: of the bootstrap. The interval knows how calls of one process differ, not how processes do.
    """
    rng = np.random.default_rng(seed)

    def means(seconds: Sequence[float]) -> np.ndarray:
        values = np.asarray(seconds)
        return np.asarray(values[rng.integers(0, len(values), size=(_RESAMPLES, len(values)))].mean(axis=1))

    value = float(np.mean(reference) / np.mean(kernel))
    tail = (1 - _CONFIDENCE) / 2
    low, high = (float(edge) for edge in np.quantile(means(reference) / means(kernel), [tail, 1 - tail]))
    return Ratio(value=value, low=min(low, value), high=max(high, value), confidence=_CONFIDENCE)


def fast_p(evaluations: Sequence[Evaluation], p: float) -> float:
    """KernelBench's score: the share of kernels that are correct and more than `p` times as fast as the reference; 0 of none."""
    if not evaluations:
        return 0.0
    return sum(e.status is Status.OK and e.fitness > p for e in evaluations) / len(evaluations)
