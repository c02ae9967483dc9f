"""The last measurement: the finalists, eager PyTorch and torch.compile in turns, each in a runner of its own."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from evaluators.runtime.base import Runner
from evaluators.service.comparison import Comparison, Finalist
from evaluators.service.pipeline import Pipeline
from evaluators.timing.benchmark import Contest
from evaluators.timing.blocks import BlockTime
from evaluators.timing.machine_noise import why_not
from evaluators.timing.statistics import is_telling, measurement, ratio_of
from evaluators.timing.stopping import LongEnough
from evaluators.timing.stopwatch import REFERENCE, Entrant
from evaluators.verdict import FailedError
from kernelevolve.core.evaluation import Measurement, Ratio
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.seeds import derive_seed

_COMPILED = "torch.compile"


def compare_finalists(pipeline: Pipeline, kernels: Sequence[Kernel], *, with_compile: bool) -> Comparison:
    """Measure the main inputs precisely, and the variants of the best. Raises as `Pipeline.evaluate` does."""
    pipeline.strict.pool.end()  # What lived as long as the search does not lie in memory as what begins now does.
    with ExitStack() as stack:
        return _Finals(pipeline, stack).compare(kernels, with_compile)


class _Finals:
    def __init__(self, pipeline: Pipeline, stack: ExitStack) -> None:
        """`stack` ends the runners."""
        self._pipeline = pipeline
        self._strict = pipeline.strict
        self._timing = pipeline.settings.final
        self._stack = stack
        self._failures: dict[str, str] = {}

    def compare(self, kernels: Sequence[Kernel], with_compile: bool) -> Comparison:
        compiled, note = self._compiled() if with_compile else (None, "not asked for")
        proven = self._proven(kernels)
        if not proven:
            return Comparison(finalists=(), failures=self._failures, compile_over_eager=None, compile_note=note)
        entrants = {kernel.id: Entrant(runners, checked=True) for kernel, runners in proven.values()}
        if compiled is not None:
            entrants[_COMPILED] = Entrant([compiled], checked=False)
        enough = LongEnough(self._timing, len(entrants))
        contest = self._strict.benchmark().contest(entrants, self._strict.reference().main, self._timing, enough)
        if _COMPILED in contest.failures:
            note = f"torch.compile failed: {contest.failures[_COMPILED].summary}"
        self._failures |= {name: each.summary for name, each in contest.failures.items() if name != _COMPILED}
        found = [self._finalist(name, contest) for name in contest.times if name in proven]
        found.sort(key=lambda finalist: -finalist.over_eager.rank)
        if _COMPILED in contest.times and any(finalist.over_compile is None for finalist in found[:1]):
            note = f"not measured: {why_not(contest.machine)}"
        best = self._with_variants(found, proven)
        return Comparison(
            finalists=tuple(
                f.model_copy(update={"aten": self._strict.aten_share(proven[f.kernel_id][1][0])}) for f in best
            ),
            failures=self._failures,
            compile_over_eager=self._over_eager(contest),
            compile_note=note,
        )

    def _proven(self, kernels: Sequence[Kernel]) -> dict[str, tuple[Kernel, list[Runner]]]:
        """Those that are correct, by id, each with its runners."""
        found: dict[str, tuple[Kernel, list[Runner]]] = {}
        for kernel in kernels:
            try:
                artifact = self._pipeline.compile(kernel)
                proven = self._stack.enter_context(self._strict.proven(kernel, artifact, self._timing.kernel_processes))
            except FailedError as error:
                self._failures[kernel.id] = error.failure.summary
            else:
                for runner in proven.runners:
                    runner.stage = "comparison"
                found[kernel.id] = kernel, proven.runners
        return found

    def _compiled(self) -> tuple[Runner | None, str]:
        """(a runner of what torch.compile makes of the reference; how that went)"""
        begin = time.monotonic()
        try:
            runner = self._stack.enter_context(self._strict.compiled_reference())
        except FailedError as error:
            return None, f"torch.compile failed: {error.failure.summary}"
        return runner, f"compiled in {time.monotonic() - begin:.1f} s"

    def _finalist(self, name: str, contest: Contest) -> Finalist:
        seed, times = derive_seed(self._pipeline.settings.seed, "final", name), contest.times
        over_compile = _ratio(times[_COMPILED], times[name], seed) if _COMPILED in times else None
        return Finalist(
            kernel_id=name,
            over_eager=measurement(times[REFERENCE], times[name], seed, why_not(contest.machine)),
            over_compile=over_compile,
        )

    def _over_eager(self, contest: Contest) -> Ratio | None:
        if _COMPILED not in contest.times:
            return None
        seed = derive_seed(self._pipeline.settings.seed, "final", "compile")
        return _ratio(contest.times[REFERENCE], contest.times[_COMPILED], seed)

    def _with_variants(
        self, found: Sequence[Finalist], proven: Mapping[str, tuple[Kernel, list[Runner]]]
    ) -> list[Finalist]:
        """The finalists from the first on that every variant can be timed of; what fails is noted."""
        variants = max(1, len(self._strict.reference().variants))
        timing = self._timing.model_copy(update={"max_seconds": self._timing.max_seconds / variants})
        for place, finalist in enumerate(found):
            try:
                timed = self._strict.benchmark().time_variants(*proven[finalist.kernel_id], timing)
            except FailedError as error:
                self._failures[finalist.kernel_id] = error.failure.summary
            else:
                measured: dict[str, Measurement] = {name: each.measurement for name, each in timed.items()}
                return [finalist.model_copy(update={"variants": measured}), *found[place + 1 :]]
        return []


def _ratio(slower: Sequence[BlockTime], faster: Sequence[BlockTime], seed: int) -> Ratio | None:
    """None where it cannot be told."""
    found = ratio_of(slower, faster, seed)
    return found if is_telling(found, slower, faster) else None
