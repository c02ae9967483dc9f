"""The speedup benchmark: times kernels of one task against eager PyTorch, alone on the device."""

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
from evaluators.timing.stopping import IntervalRule
from evaluators.timing.stopwatch import REFERENCE, Entrant, StoppingRule, Stopwatch, input_bytes
from evaluators.verdict import FailedError, Failure, failed
from kernelevolve.core.evaluation import MachineState, Measurement
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.seeds import derive_seed

_REPLICATED_BYTES = 256 << 20
"""The most bytes that the inputs of all runners of one implementation take together."""
_KNOWN_BLOCKS = 200
"""The number of the reference's blocks that are kept from earlier measurements."""
PATIENCE = 4
"""The multiple of `max_seconds` that a measurement of slow kernels may take."""


@dataclass(frozen=True)
class JointMeasurement:
    """The result of timing some entrants against the reference."""

    times: Mapping[str, tuple[BlockTime, ...]]
    """The timed blocks of the reference and of each entrant that did not fail, by name."""
    failures: Mapping[str, Failure]
    """The failures of the entrants that failed, by name."""
    machine: MachineState
    """The state of the machine during the measurement."""


@dataclass(frozen=True)
class TimedMeasurement:
    """The measurement of a kernel."""

    measurement: Measurement
    """The measured times and speedup."""
    machine: MachineState
    """The state of the machine during the measurement."""


class SpeedupBenchmark:
    """Measures kernels against the reference that `checker` uses."""

    def __init__(
        self, runtime: Runtime, checker: Checker, pool: ReferencePool, settings: EvaluationSettings, lock: DeviceLock
    ) -> None:
        """Create the benchmark.

        Args:
            runtime: The runtime of all runners.
            checker: The checker of kernels, which holds the reference.
            pool: The runners of the reference.
            settings: The settings of evaluation.
            lock: The device lock.
        """
        self._runtime = runtime
        self._checker = checker
        self._pool = pool
        self._settings = settings
        self._lock = lock
        main = checker.reference.main
        self._main_bytes = sum(path.stat().st_size for path in main.folder.glob(f"{main.name}.draw0.*"))
        self.input_bytes = input_bytes(checker.reference, settings)
        """The bytes of memory for inputs that a runner needs at most."""
        self._values: dict[str, FreshValues] = {}
        self._calibrations = Calibrations()
        self._known: dict[str, deque[BlockTime]] = defaultdict(lambda: deque(maxlen=_KNOWN_BLOCKS))
        """The latest undisturbed blocks of the reference, by case."""

    def time(
        self, kernel: Kernel, runners: Sequence[Runner], case: Case, timing: TimingSettings, floor: float | None = None
    ) -> TimedMeasurement:
        """Time a kernel against eager PyTorch.

        Args:
            kernel: The kernel.
            runners: The runners that hold the kernel.
            case: The inputs.
            timing: How long to measure.
            floor: A speedup. Measuring ends early when the kernel is surely below it.

        Raises:
            FailedError: The kernel failed.
            UserError: The reference cannot be timed.
        """
        for runner in runners:
            runner.stage = "timing"
        entrant = Entrant(runners, checked=True)
        time_entrants = self.time_entrants({kernel.id: entrant}, case, timing, IntervalRule(timing, floor))
        if kernel.id in time_entrants.failures:
            raise FailedError(time_entrants.failures[kernel.id])
        seed = derive_seed(self._settings.seed, "bootstrap", kernel.id, case.name)
        known, times = self._known[case.name], time_entrants.times
        found = measurement(times[REFERENCE], times[kernel.id], seed, why_not(time_entrants.machine), known)
        known.extend(block for block in times[REFERENCE] if not block.disturbed)
        return TimedMeasurement(found, time_entrants.machine)

    def time_entrants(
        self, others: Mapping[str, Entrant], case: Case, timing: TimingSettings, enough: StoppingRule
    ) -> JointMeasurement:
        """Time some entrants against the reference, alone on the device.

        Args:
            others: The entrants by name, without the reference.
            case: The inputs.
            timing: How long to measure.
            enough: The rule that ends the measurement.

        Raises:
            UserError: The reference cannot be timed.
        """
        limit = self._settings.run_timeout + PATIENCE * timing.max_seconds
        seed = derive_seed(self._settings.seed, "fresh", case.name, *others)
        bounds = self._checker.bounds(case.expected)
        after = self._checker.bounds(case.effects.expected) if case.effects else ()
        references = self.references(timing)
        with self._lock.exclusive(), self._runtime.alone():
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
        return JointMeasurement(
            {name: taken for name, taken in times.items() if name not in failures}, failures, machine
        )

    def time_variants(
        self, kernel: Kernel, runners: Sequence[Runner], timing: TimingSettings
    ) -> dict[str, TimedMeasurement]:
        """Time a kernel on the task's further inputs. Return the results by name. Raises FailedError if it fails on one of them."""
        found: dict[str, TimedMeasurement] = {}
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
        """Return the number of runners, at most `runners`, for whose inputs there is memory.

        Large inputs get fewer runners. They span so many pages that their placement in memory matters little.
        """
        return max(1, min(runners, _REPLICATED_BYTES // max(1, self._main_bytes)))

    def references(self, timing: TimingSettings) -> list[Runner]:
        """Return runners of the reference that are ready to be timed. Raises UserError if the reference cannot be built."""
        return self._pool.get(self.at_most(timing.reference_processes), self.input_bytes)

    def _fresh_values(self, case: Case) -> FreshValues:
        if case.name not in self._values:
            self._values[case.name] = FreshValues(case)
        return self._values[case.name]
