"""Times candidates of one task against eager PyTorch, alone on the machine."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence

from evaluators.correctness.checker import Checker, arena_bytes
from evaluators.correctness.reference.data import Case
from evaluators.runtime.cpu.machine_state import why_not
from evaluators.runtime.cpu.runner import Seat
from evaluators.runtime.device_lock import Gate
from evaluators.settings import EvaluationSettings, TimingSettings
from evaluators.timing.blocks import Taken
from evaluators.timing.fresh_inputs import FreshValues
from evaluators.timing.reference_pool import EagerSeats
from evaluators.timing.repeating import Repeating
from evaluators.timing.statistics import measurement
from evaluators.timing.stopping import TightEnough
from evaluators.timing.stopwatch import REFERENCE, Contestant, Enough, Stopwatch
from evaluators.verdict import FailedError, Failure, failed
from kernelevolve.core.evaluation import Measurement
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.seeds import derive_seed

_REPLICATED_BYTES = 256 << 20
"""Most that the inputs of all processes alike take."""
_KNOWN_BLOCKS = 200
"""Of the reference, that are kept of earlier measurements."""
PATIENCE = 4
"""Times `max_seconds` that a measurement may take: kernels may be slow."""


class Meter:
    """Of the candidates of one reference. `checker` knows it."""

    def __init__(
        self, checker: Checker, eager: EagerSeats, settings: EvaluationSettings, gate: Gate, repeating: Repeating
    ) -> None:
        """`eager`: the reference's processes."""
        self._checker = checker
        self._eager = eager
        self._settings = settings
        self._gate = gate
        self._repeating = repeating
        self._values: dict[str, FreshValues] = {}
        self._known: dict[str, deque[Taken]] = defaultdict(lambda: deque(maxlen=_KNOWN_BLOCKS))
        """The reference's undisturbed blocks of late, by case."""

    def time(
        self, kernel: Kernel, seats: Sequence[Seat], case: Case, timing: TimingSettings, floor: float | None
    ) -> Measurement:
        """A candidate against eager PyTorch. Raises FailedError, or UserError where the reference cannot be timed."""
        for seat in seats:
            seat.stage = "timing"
        contestant = Contestant(seats, checked=True)
        times, failures = self.contest({kernel.id: contestant}, case, timing, TightEnough(timing, floor))
        if kernel.id in failures:
            raise FailedError(failures[kernel.id])
        seed = derive_seed(self._settings.seed, "bootstrap", kernel.id, case.name)
        known = self._known[case.name]
        found = measurement(times[REFERENCE], times[kernel.id], seed, self.why_not(), known)
        known.extend(block for block in times[REFERENCE] if not block.disturbed)
        return found

    def contest(
        self, others: Mapping[str, Contestant], case: Case, timing: TimingSettings, enough: Enough
    ) -> tuple[dict[str, tuple[Taken, ...]], dict[str, Failure]]:
        """(blocks by name, the reference's among them; verdicts on those that failed). Alone on the machine.

        Raises UserError where the reference cannot be timed.
        """
        limit = self._settings.run_timeout + PATIENCE * timing.max_seconds
        seed = derive_seed(self._settings.seed, "fresh", case.name, *others)
        bounds = self._checker.bounds(case.answers)
        after = self._checker.bounds(case.effects.answers) if case.effects else ()
        eager = self.reference_seats(timing)

        def measure(_: int) -> tuple[Stopwatch, dict[str, tuple[Taken, ...]]]:
            for seat in (*eager, *(seat for contestant in others.values() for seat in contestant.seats)):
                seat.allow(limit)
            stopwatch = Stopwatch(eager, others, case, self._fresh_values(case), bounds, timing, seed, after)
            try:
                return stopwatch, stopwatch.run(enough)
            except FailedError as error:
                raise self._eager.untimeable(error.failure) from error

        with self._gate.exclusive():
            stopwatch, times = self._repeating.undisturbed(measure, 0, 0.0)
        failures = dict(stopwatch.failures)
        for name, contestant in others.items():
            try:
                for seat in contestant.seats if contestant.checked and name not in failures else ():
                    seat.check_rule()
            except FailedError as error:
                failures[name] = error.failure
        return {name: taken for name, taken in times.items() if name not in failures}, failures

    def why_not(self) -> str:
        """In words, why the last measurement may have told too little."""
        return why_not(self._repeating.states[-1])

    def reference_seats(self, timing: TimingSettings) -> list[Seat]:
        """The reference's processes, ready to be timed. Raises UserError where it cannot be built."""
        size = arena_bytes(self._checker.reference, self._settings)
        return self._eager.get(self.at_most(timing.reference_processes), size)

    def time_variants(
        self, kernel: Kernel, seats: Sequence[Seat], timing: TimingSettings
    ) -> dict[str | None, Measurement]:
        """Measurements of the task's further inputs by name. Raises FailedError where the kernel fails in one of them."""
        found: dict[str | None, Measurement] = {}
        for name, case in self._checker.reference.variants.items():
            try:
                found[name] = self.time(kernel, seats, case, timing, None)
            except FailedError as error:
                failure = error.failure
                raise failed(
                    failure.status, failure.stage, f"variant {name}: {failure.summary}", failure.details
                ) from error
        return found

    def at_most(self, processes: int) -> int:
        """As many as memory allows: those of large inputs are few, and lie in so many pages that where does not matter."""
        main = self._checker.reference.main
        size = sum(path.stat().st_size for path in main.folder.glob(f"{main.name}.draw0.*"))
        return max(1, min(processes, _REPLICATED_BYTES // max(1, size)))

    def _fresh_values(self, case: Case) -> FreshValues:
        if case.name not in self._values:
            self._values[case.name] = FreshValues(case)
        return self._values[case.name]
