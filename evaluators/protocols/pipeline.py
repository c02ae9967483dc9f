"""The way of one kernel: source, compiling, correctness, timing. The first stage that fails ends it."""

from __future__ import annotations

import math
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import torch

from devices.base import Artifact, Device
from devices.cpu import usable_cores
from evaluators.correctness.checker import Checker, arena_bytes
from evaluators.correctness.inputs.checks import COMPILED
from evaluators.correctness.ledger import RULE, TIMED_CALLS, TRIALS, Ledger
from evaluators.correctness.reference.data import Reference, reference_of
from evaluators.correctness.reference.probe import Probe, slowness
from evaluators.folders import OwnedFolder
from evaluators.protocols.kernelbench import KernelBench
from evaluators.runtime.cpu.fork_server import ForkServer
from evaluators.runtime.cpu.machine_state import joined, why_not
from evaluators.runtime.cpu.runner import Seat
from evaluators.runtime.cpu.runner_process import ServerDiedError
from evaluators.runtime.device_lock import Gate
from evaluators.runtime.interruption import InterruptedJobError
from evaluators.sandbox.isolation import isolation_of
from evaluators.scratch import disk_errors
from evaluators.service.compiling import Compiled, compile_kernel
from evaluators.service.source import check_source
from evaluators.settings import EvaluationSettings, Protocol, TimingSettings
from evaluators.timing.benchmark import PATIENCE, Meter
from evaluators.timing.reference_pool import EagerSeats
from evaluators.timing.repeating import Repeating
from evaluators.timing.statistics import told_or_not
from evaluators.verdict import FailedError, Failure
from kernelevolve.core.evaluation import AtenShare, Evaluation, FallbackShare, Measurement, Status
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.task import AllowAten, Task

_T = TypeVar("_T")
_S = TypeVar("_S", bound=ForkServer)


@dataclass
class _Clock:
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def lap(self, stage: str) -> Iterator[None]:
        begin = time.monotonic()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.monotonic() - begin


def _surer(first: Measurement, again: Measurement) -> Measurement:
    """The second one, which was not chosen for being high. Where it tells too little, the lower guess: no lucky one shall lead a search."""
    return first if again.speedup is None and first.rank < again.rank else again


def fork_server(settings: EvaluationSettings, kind: Callable[..., _S] = ForkServer) -> _S:  # type: ignore[assignment]
    """A fork server for these settings, not started yet; `close` it. `kind`: its class."""
    threads = settings.threads or usable_cores()
    return kind(threads=threads, confined=settings.sandbox, readable=settings.readable)


class Pipeline:
    """Judges kernels of one task on one device, one after the other. `close` it."""

    def __init__(
        self,
        task: Task,
        device: Device,
        settings: EvaluationSettings,
        build_dir: Path | None = None,
        *,
        careful: bool = False,
        notify: Callable[[str], None] = lambda _: None,
        server: ForkServer | None = None,
    ) -> None:
        """`careful`: measure as finalists are measured, and the task's further inputs too. `notify`: is told, in one line and before
        it happens, that judging will take long. `server`: a fork server that pipelines share, with these settings; None: one of its own.
        """
        self.task = task
        self.note = ""
        """What `notify` was told."""
        self._timing = settings.final if careful else settings.timing
        self._careful = careful
        self._notify = notify
        self.device = device
        self.settings = settings
        self.isolation = isolation_of(settings)
        self.threads = settings.threads or usable_cores()
        # The judge's own threads would spin on the cores that it measures on.
        torch.set_num_threads(1)
        self._owns_server = server is None
        self.server = server or fork_server(settings)
        self.gate = Gate(interruption=self.server.interruption)
        self._kernelbench = KernelBench(task, settings, self.server, self.gate, self.threads, self._say_if_slow)
        with disk_errors(Path(tempfile.gettempdir()), "what is compiled"):
            self._own_builds = None if build_dir else OwnedFolder(Path(tempfile.gettempdir()), "kernelevolve-build")
        self.build_dir = build_dir or (self._own_builds.path if self._own_builds else Path())
        self._reference: Reference | None = None
        self._checker: Checker | None = None
        self._meter: Meter | None = None
        self.eager = EagerSeats(task, settings, self.server)
        self.repeating = Repeating(settings.disturbed_above)
        """It knows what else the machine did during each measurement of the kernel that was judged last."""

    def warm(self) -> None:
        """Start the fork server and have the reference computed. Raises UserError where the task is at fault."""
        self.server.start()
        self._prepare()

    def _prepare(self) -> None:
        if self.settings.protocol is Protocol.KERNELBENCH:
            self._again(self._kernelbench.prepare)
        else:
            self.reference()

    def reference(self) -> Reference:
        """The task's data, computed again where it was removed: it lies where the system, or its user, may clear up."""
        if self._reference is not None:
            try:
                self._reference.touch()
            except FileNotFoundError:
                self._reference = None
        if self._reference is None:
            self._reference = self._again(
                lambda: reference_of(self.task, self.settings, self.server, self._say_if_slow)
            )
            self._checker = self._meter = None
        return self._reference

    def _say_if_slow(self, found: Probe, prepared: bool) -> None:
        said = slowness(self.task, found, self.settings, self._timing, prepared=prepared)
        if said and not self.note:
            self.note = said
            self._notify(said)

    def checker(self) -> Checker:
        """Of the reference's cases."""
        reference = self.reference()
        if self._checker is None:
            self._checker = Checker(reference, self.task.tolerance)
        return self._checker

    def meter(self) -> Meter:
        """Of candidates against the reference."""
        checker = self.checker()
        if self._meter is None:
            self._meter = Meter(checker, self.eager, self.settings, self.gate, self.repeating)
        return self._meter

    def _again(self, work: Callable[[], _T]) -> _T:
        """Once more after the fork server died; then it is raised."""
        try:
            return work()
        except ServerDiedError:
            return work()

    def evaluate(
        self,
        kernel: Kernel,
        best: float | None = None,
        *,
        timing: TimingSettings | None = None,
        variants: bool | None = None,
        compiled: Compiled | None = None,
    ) -> Evaluation:
        """The verdict. `best`: the speedup of the best kernel known to a search, 0 where there is none. A kernel that is surely below
        its share `drop_below` is timed no further, one that seems better is measured again, in a process of its own, and that is
        told: of many measurements the highest is too high. `timing`, and whether `variants` are timed too: other than the pipeline
        does. `compiled`: by `compile_apart`, so that it is not done here.

        Raises UserError where the task is at fault, ServerDiedError or OSError where this machine is, and InterruptedJobError where
        `server.interrupt` was called.
        """
        clock = _Clock(dict(compiled.seconds) if compiled else {})
        self.repeating.states.clear()
        ledger = Ledger()
        timed: dict[str | None, Measurement] = {}
        share: AtenShare | None = None
        fallback: FallbackShare | None = None
        failure: Failure | None = None
        try:
            timed, share, fallback = self._again(
                lambda: self._judge(
                    kernel,
                    compiled,
                    best,
                    clock,
                    timing or self._timing,
                    self._careful if variants is None else variants,
                    ledger,
                )
            )
        except FailedError as error:
            failure = error.failure
        except ServerDiedError:
            failure = Failure(Status.CRASHED, "integrity", "ended the process that judges it, twice")
        except InterruptedJobError:
            self.eager.end()  # They may stand in the middle of an order.
            raise
        timed_main = timed.pop(None, None)
        return Evaluation(
            kernel_id=kernel.id,
            task_id=self.task.id,
            device=self.device.name,
            status=failure.status if failure else Status.OK,
            measurement=timed_main,
            variants={name: found for name, found in timed.items() if name is not None},
            diagnosis=failure.diagnosis if failure else None,
            checks=ledger.told(),
            aten=share,
            fallback=fallback,
            seconds=clock.seconds,
            machine=joined(self.repeating.states),
            environment={**self.environment(), **self._eager(), **self._flags(timed_main)},
        )

    def environment(self) -> dict[str, str]:
        """Versions and facts that verdicts depend on."""
        return {
            "protocol": self.settings.protocol,
            "torch": str(torch.__version__),
            "python": platform.python_version(),
            "arch": self.device.arch(),
            "isolation": self.isolation,
            "threads": str(self.threads),
        }

    def _eager(self) -> dict[str, str]:
        """That the task's own torch.compile does nothing, where it has any."""
        known = self._reference is not None and COMPILED in self._reference.left_out
        return {"torch.compile": "eager"} if known else {}

    def _flags(self, timed: Measurement | None) -> dict[str, str]:
        """What KernelBench's rules say about a measurement beside its ratio."""
        most = self.settings.kernelbench.excessive_speedup
        if self.settings.protocol is not Protocol.KERNELBENCH or timed is None or timed.rank <= most:
            return {}
        return {"excessive_speedup": f"above {most:g}x"}

    def _judge(
        self,
        kernel: Kernel,
        compiled: Compiled | None,
        best: float | None,
        clock: _Clock,
        timing: TimingSettings,
        variants: bool,
        ledger: Ledger,
    ) -> tuple[dict[str | None, Measurement], AtenShare | None, FallbackShare | None]:
        artifact = compiled.unpack(self.build_dir) if compiled else self._compiled(kernel, clock)
        if self.settings.protocol is Protocol.KERNELBENCH:
            judged = self._kernelbench.judge(
                kernel,
                artifact.environment,
                clock.lap,
                lambda measure: self.repeating.undisturbed(measure, self.settings.kernelbench.repeats, math.inf),
            )
            ledger.add(TRIALS, self.settings.kernelbench.trials)
            return {None: told_or_not(judged, why_not(self.repeating.states[-1]))}, None, None
        reference = self.reference()
        with self.candidate(kernel, artifact, timing.kernel_processes, clock, ledger) as seats, clock.lap("timing"):
            fallback = seats[0].fallback
            floor = self.settings.drop_below * best if best else None
            measured = self.meter().time(kernel, seats, reference.main, timing, floor)
            if best is not None and measured.rank > best:
                measured = _surer(measured, self._measured_anew(kernel, artifact, timing))
            found: dict[str | None, Measurement] = {None: measured}
            if variants:
                found |= self.meter().time_variants(kernel, seats, timing)
            ledger.add(TIMED_CALLS, sum(each.rounds for each in found.values()))
            share = self.audit(seats[0]) if variants else None
        return found, share, fallback

    def _compiled(self, kernel: Kernel, clock: _Clock) -> Artifact:
        with clock.lap("source"):
            failure = check_source(kernel.source)
        if failure:
            raise FailedError(failure)
        self._prepare()  # A task at fault is told before anything is compiled.
        with clock.lap("compile"):
            return self.compile(kernel)

    @contextmanager
    def candidate(
        self,
        kernel: Kernel,
        artifact: Artifact,
        processes: int,
        clock: _Clock | None = None,
        ledger: Ledger | None = None,
    ) -> Iterator[list[Seat]]:
        """A candidate that is proven correct, in so many processes. Raises FailedError where it is not correct.

        `ledger`: takes what was checked.
        """
        checker, clock, ledger = self.checker(), clock or _Clock(), ledger or Ledger()
        ledger.begin(self.reference())
        with ExitStack() as stack:
            seats: list[Seat] = []
            with clock.lap("correctness"), self.gate.shared():
                changes = self.reference().main.later is not None
                for number in range(self.meter().at_most(processes)):
                    again = 2 if changes and number == 0 else 0
                    seat = stack.enter_context(self._loaded(kernel, artifact, again, checked=number == 0))
                    if number == 0:
                        checker.check(seat, ledger)
                        seat.check_rule()
                        if self.task.allow_aten is not AllowAten.ALL:
                            ledger.add(RULE)
                        if changes:
                            seat.order(do="build")
                    seats.append(seat)
            yield seats

    @contextmanager
    def _loaded(self, kernel: Kernel, artifact: Artifact, again: int = 0, *, checked: bool = False) -> Iterator[Seat]:
        """A player that holds a candidate; parameters as `load` has them."""
        with self.spawn(self.settings.memory_gb, environment=artifact.environment) as seat:
            seat.allow(self.settings.run_timeout)
            self.load(seat, kernel, again, checked=checked)
            yield seat

    def _measured_anew(self, kernel: Kernel, artifact: Artifact, timing: TimingSettings) -> Measurement:
        """With other processes on both sides than before."""
        self.eager.end()
        with ExitStack() as stack:
            with self.gate.shared():
                seats = [
                    stack.enter_context(self._loaded(kernel, artifact))
                    for _ in range(self.meter().at_most(timing.kernel_processes))
                ]
            return self.meter().time(kernel, seats, self.reference().main, timing, None)

    @contextmanager
    def spawn(
        self, memory_gb: float, *, trusted: bool = False, environment: Mapping[str, str] | None = None
    ) -> Iterator[Seat]:
        """A player that holds nothing yet."""
        settings = self.settings
        timing = max(each.disturbed_factor * each.max_seconds for each in (settings.timing, settings.final))
        seconds = self.threads * 3 * (settings.run_timeout + PATIENCE * timing) + settings.compile_reference_timeout
        with self.server.spawn(
            arena_bytes(self.reference(), settings),
            trusted=trusted,
            memory_gb=memory_gb,
            cpu_seconds=seconds,
            environment=environment,
        ) as player:
            yield Seat(player)

    def load(self, seat: Seat, kernel: Kernel, again: int = 0, *, checked: bool = False) -> None:
        """Give a player the candidate. `again`: how often more it will be built; `checked`: with other parameters too."""
        other = self.reference().other if checked else None
        seat.load(
            kernel.source, self.task, self.reference().init, others=other.parameters.model_dump() if other else None
        )
        seat.order(do="build", spares=again)

    def audit(self, seat: Seat) -> AtenShare | None:
        """How much of a call on the main inputs is PyTorch's own work; None where that cannot be told."""
        main = self.reference().main
        seat.allow(self.settings.run_timeout)
        try:
            seat.lay_out(main.inputs, 1, main.nesting)
            seat.write(0, main.load())
            return seat.audit()
        except FailedError:
            return None

    def compile(self, kernel: Kernel) -> Artifact:
        """What its toolchain makes of a kernel. Raises FailedError where it makes nothing of it."""
        return compile_kernel(kernel, self.device, self.build_dir, self.settings.compile_timeout, self.gate)

    def close(self) -> None:
        self.eager.end()
        if self._owns_server:
            self.server.close()
        if self._own_builds is not None:
            self._own_builds.remove()
