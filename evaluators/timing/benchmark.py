"""Times kernels of one task against eager PyTorch, with the device to themselves."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evaluators.correctness.checker import Checker
from evaluators.correctness.reference.data import Case
from evaluators.runtime.base import Runner, Runtime
from evaluators.runtime.device_lock import DeviceLock
from evaluators.settings import EvaluationSettings, TimingSettings
from evaluators.timing.blocks import BlockTime
from evaluators.timing.calibration import Calibrations
from evaluators.timing.fresh_inputs import FreshValues
from evaluators.timing.machine_noise import why_not
from evaluators.timing.reference_pool import ReferencePool
from evaluators.timing.statistics import measurement
from evaluators.timing.stopping import TightEnough
from evaluators.timing.stopwatch import REFERENCE, Enough, Entrant, Stopwatch, input_bytes
from evaluators.verdict import FailedError, Failure, failed
from kernelevolve.core.evaluation import MachineState, Measurement
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.seeds import derive_seed

_REPLICATED_BYTES = 256 << 20
"""Most that the inputs of all runners alike take."""
_KNOWN_BLOCKS = 200
"""Blocks of the reference that are kept of earlier measurements."""
PATIENCE = 4
"""How many times `max_seconds` a measurement may take: kernels may be slow."""


@dataclass(frozen=True)
class Contest:
    """What came of timing some entrants against the reference."""

    times: Mapping[str, tuple[BlockTime, ...]]
    """Blocks by name, the reference's among them, of those that did not fail."""
    failures: Mapping[str, Failure]
    """Verdicts on those that failed."""
    machine: MachineState
    """What else the machine did meanwhile."""


@dataclass(frozen=True)
class Timed:
    """A kernel's measurement, and what else the machine did meanwhile."""

    measurement: Measurement
    machine: MachineState


class SpeedupBenchmark:
    """Of the kernels of one reference, which `checker` knows."""

    def __init__(
        self, runtime: Runtime, checker: Checker, pool: ReferencePool, settings: EvaluationSettings, lock: DeviceLock
    ) -> None:
        """`pool`: the reference's runners."""
        self._runtime = runtime
        self._checker = checker
        self._pool = pool
        self._settings = settings
        self._lock = lock
        self._values: dict[str, FreshValues] = {}
        self._calibrations = Calibrations()
        self._known: dict[str, deque[BlockTime]] = defaultdict(lambda: deque(maxlen=_KNOWN_BLOCKS))
        """The reference's undisturbed blocks of late, by case."""

    def time(
        self, kernel: Kernel, runners: Sequence[Runner], case: Case, timing: TimingSettings, floor: float | None = None
    ) -> Timed:
        """Time a kernel against eager PyTorch. `floor`: the speedup below which it need not be known.

        Raises FailedError where the kernel fails, and UserError where the reference cannot be timed.
        """
        for runner in runners:
            runner.stage = "timing"
        entrant = Entrant(runners, checked=True)
        contest = self.contest({kernel.id: entrant}, case, timing, TightEnough(timing, floor))
        if kernel.id in contest.failures:
            raise FailedError(contest.failures[kernel.id])
        seed = derive_seed(self._settings.seed, "bootstrap", kernel.id, case.name)
        known, times = self._known[case.name], contest.times
        found = measurement(times[REFERENCE], times[kernel.id], seed, why_not(contest.machine), known)
        known.extend(block for block in times[REFERENCE] if not block.disturbed)
        return Timed(found, contest.machine)

    def contest(self, others: Mapping[str, Entrant], case: Case, timing: TimingSettings, enough: Enough) -> Contest:
        """Time some entrants against the reference, alone on the device. Raises UserError where the reference cannot be timed."""
        limit = self._settings.run_timeout + PATIENCE * timing.max_seconds
        seed = derive_seed(self._settings.seed, "fresh", case.name, *others)
        bounds = self._checker.bounds(case.answers)
        after = self._checker.bounds(case.effects.answers) if case.effects else ()
        references = self.references(timing)
        with self._lock.exclusive():
            for runner in (*references, *(runner for entrant in others.values() for runner in entrant.runners)):
                runner.allow(limit)
            observation = self._runtime.observe()
            stopwatch = Stopwatch(
                self._runtime,
                references,
                others,
                case,
                self._fresh_values(case),
                bounds,
                timing,
                seed,
                self._calibrations,
                after,
            )
            try:
                times = stopwatch.run(enough)
            except FailedError as error:
                raise self._pool.untimeable(error.failure) from error
            machine = observation.finish(self._settings.disturbed_above)
        failures = dict(stopwatch.failures)
        for name, entrant in others.items():
            try:
                for runner in entrant.runners if entrant.checked and name not in failures else ():
                    runner.check_rule()
            except FailedError as error:
                failures[name] = error.failure
        return Contest({name: taken for name, taken in times.items() if name not in failures}, failures, machine)

    def time_variants(self, kernel: Kernel, runners: Sequence[Runner], timing: TimingSettings) -> dict[str, Timed]:
        """Time the task's further inputs, by name. Raises FailedError where the kernel fails in one of them."""
        found: dict[str, Timed] = {}
        for name, case in self._checker.reference.variants.items():
            try:
                found[name] = self.time(kernel, runners, case, timing)
            except FailedError as error:
                failure = error.failure
                raise failed(
                    failure.status, failure.stage, f"variant {name}: {failure.summary}", failure.details
                ) from error
        return found

    def at_most(self, runners: int) -> int:
        """As many as memory allows: those of large inputs are few, and lie in so many pages that where does not matter."""
        main = self._checker.reference.main
        size = sum(path.stat().st_size for path in main.folder.glob(f"{main.name}.draw0.*"))
        return max(1, min(runners, _REPLICATED_BYTES // max(1, size)))

    def references(self, timing: TimingSettings) -> list[Runner]:
        """The reference's runners, ready to be timed. Raises UserError where it cannot be built."""
        size = input_bytes(self._checker.reference, self._settings)
        return self._pool.get(self.at_most(timing.reference_processes), size)

    def _fresh_values(self, case: Case) -> FreshValues:
        if case.name not in self._values:
            self._values[case.name] = FreshValues(case)
        return self._values[case.name]
