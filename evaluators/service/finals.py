"""The final measurement: finalists, eager PyTorch and torch.compile, timed in alternation in runners of their own."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from evaluators.runtime.base import Runner
from evaluators.service.comparison import Comparison, Finalist
from evaluators.service.pipeline import Pipeline
from evaluators.timing.benchmark import JointMeasurement
from evaluators.timing.blocks import BlockTime
from evaluators.timing.machine_noise import why_not
from evaluators.timing.statistics import is_precise, measurement, ratio_of
from evaluators.timing.stopping import DurationRule
from evaluators.timing.stopwatch import REFERENCE, Entrant
from evaluators.verdict import FailedError
from kernelevolve.core.evaluation import Measurement, Ratio
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.seeds import derive_seed

_COMPILED = "torch.compile"


def compare_finalists(pipeline: Pipeline, kernels: Sequence[Kernel], *, with_compile: bool) -> Comparison:
    """Measure finalists precisely on the main inputs, and the best one on the task's further inputs.

    Args:
        pipeline: The pipeline to use.
        kernels: The finalists.
        with_compile: Whether torch.compile is timed too.

    Raises:
        UserError: The task is at fault.
        InfrastructureError, OSError: This machine is at fault.
        InterruptedJobError: The runtime was interrupted.
    """
    pipeline.strict.pool.end()  # All sides start in new processes, since the age of a process affects the placement of its memory.
    with ExitStack() as stack:
        return _Finals(pipeline, stack).compare(kernels, with_compile)


class _Finals:
    def __init__(self, pipeline: Pipeline, stack: ExitStack) -> None:
        """`stack` is the exit stack that ends the runners."""
        self._pipeline = pipeline
        self._strict = pipeline.strict
        self._timing = pipeline.settings.final
        self._stack = stack
        self._failures: dict[str, str] = {}

    def compare(self, kernels: Sequence[Kernel], with_compile: bool) -> Comparison:
        """Measure the finalists, see `compare_finalists`."""
        compiled, note = self._compiled() if with_compile else (None, "not asked for")
        checked_kernel = self._proven(kernels)
        if not checked_kernel:
            return Comparison(finalists=(), failures=self._failures, compile_over_eager=None, compile_note=note)
        entrants = {kernel.id: Entrant(runners, checked=True) for kernel, runners in checked_kernel.values()}
        if compiled is not None:
            entrants[_COMPILED] = Entrant([compiled], checked=False)
        enough = DurationRule(self._timing, len(entrants))
        time_entrants = self._strict.benchmark().time_entrants(
            entrants, self._strict.reference().main, self._timing, enough
        )
        if _COMPILED in time_entrants.failures:
            note = f"torch.compile failed: {time_entrants.failures[_COMPILED].summary}"
        self._failures |= {name: each.summary for name, each in time_entrants.failures.items() if name != _COMPILED}
        found = [self._finalist(name, time_entrants) for name in time_entrants.times if name in checked_kernel]
        found.sort(key=lambda finalist: -finalist.over_eager.fitness)
        if _COMPILED in time_entrants.times and any(finalist.over_compile is None for finalist in found[:1]):
            note = f"not measured: {why_not(time_entrants.machine)}"
        best = self._with_variants(found, checked_kernel)
        return Comparison(
            finalists=tuple(
                f.model_copy(update={"aten": self._strict.aten_share(checked_kernel[f.kernel_id][1][0])}) for f in best
            ),
            failures=self._failures,
            compile_over_eager=self._over_eager(time_entrants),
            compile_note=note,
        )

    def _proven(self, kernels: Sequence[Kernel]) -> dict[str, tuple[Kernel, list[Runner]]]:
        """Return the kernels that are correct, by id, each with its runners."""
        found: dict[str, tuple[Kernel, list[Runner]]] = {}
        for kernel in kernels:
            try:
                artifact = self._pipeline.compile(kernel)
                checked_kernel = self._stack.enter_context(
                    self._strict.checked_kernel(kernel, artifact, self._timing.kernel_processes)
                )
            except FailedError as error:
                self._failures[kernel.id] = error.failure.summary
            else:
                for runner in checked_kernel.runners:
                    runner.stage = "comparison"
                found[kernel.id] = kernel, checked_kernel.runners
        return found

    def _compiled(self) -> tuple[Runner | None, str]:
        """Return a runner with the compiled reference, or None if that failed, and a note on how it went."""
        begin = time.monotonic()
        try:
            runner = self._stack.enter_context(self._strict.compiled_reference())
        except FailedError as error:
            return None, f"torch.compile failed: {error.failure.summary}"
        return runner, f"compiled in {time.monotonic() - begin:.1f} s"

    def _finalist(self, name: str, time_entrants: JointMeasurement) -> Finalist:
        seed, times = derive_seed(self._pipeline.settings.seed, "final", name), time_entrants.times
        over_compile = _ratio(times[_COMPILED], times[name], seed) if _COMPILED in times else None
        return Finalist(
            kernel_id=name,
            over_eager=measurement(times[REFERENCE], times[name], seed, why_not(time_entrants.machine)),
            over_compile=over_compile,
        )

    def _over_eager(self, time_entrants: JointMeasurement) -> Ratio | None:
        if _COMPILED not in time_entrants.times:
            return None
        seed = derive_seed(self._pipeline.settings.seed, "final", "compile")
        return _ratio(time_entrants.times[REFERENCE], time_entrants.times[_COMPILED], seed)

    def _with_variants(
        self, found: Sequence[Finalist], checked_kernel: Mapping[str, tuple[Kernel, list[Runner]]]
    ) -> list[Finalist]:
        """Time the variants of the best finalist. Finalists that fail are dropped, with a note, until one succeeds."""
        variants = max(1, len(self._strict.reference().variants))
        timing = self._timing.model_copy(update={"max_seconds": self._timing.max_seconds / variants})
        for place, finalist in enumerate(found):
            try:
                timed = self._strict.benchmark().time_variants(*checked_kernel[finalist.kernel_id], timing)
            except FailedError as error:
                self._failures[finalist.kernel_id] = error.failure.summary
            else:
                measured: dict[str, Measurement] = {name: each.measurement for name, each in timed.items()}
                return [finalist.model_copy(update={"variants": measured}), *found[place + 1 :]]
        return []


def _ratio(slower: Sequence[BlockTime], faster: Sequence[BlockTime], seed: int) -> Ratio | None:
    """Return the ratio of two implementations' times, or None if it is not precise enough."""
    found = ratio_of(slower, faster, seed)
    return found if is_precise(found, slower, faster) else None
