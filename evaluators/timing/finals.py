"""The last measurement: the finalists, eager PyTorch and torch.compile in turns, each in a process of its own."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from evaluators.protocols.pipeline import Pipeline
from evaluators.runtime.cpu.runner import Seat
from evaluators.timing.blocks import Taken, Times
from evaluators.timing.comparison import Comparison, Finalist
from evaluators.timing.statistics import is_telling, measurement, ratio_of
from evaluators.timing.stopping import LongEnough
from evaluators.timing.stopwatch import REFERENCE, Contestant
from evaluators.verdict import FailedError
from kernelevolve.core.evaluation import Ratio
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.seeds import derive_seed

_COMPILED = "torch.compile"


def compare_finalists(pipeline: Pipeline, kernels: Sequence[Kernel], *, with_compile: bool) -> Comparison:
    """Measure the main inputs precisely, and the variants of the best. Raises as `Pipeline.evaluate` does."""
    pipeline.eager.end()  # What lived as long as the search does not lie in memory as what begins now does.
    with ExitStack() as stack:
        return _Comparing(pipeline, stack).compare(kernels, with_compile)


class _Comparing:
    def __init__(self, pipeline: Pipeline, stack: ExitStack) -> None:
        """`stack`: ends the players."""
        self._pipeline = pipeline
        self._stack = stack
        self._failures: dict[str, str] = {}

    def compare(self, kernels: Sequence[Kernel], with_compile: bool) -> Comparison:
        pipeline, final = self._pipeline, self._pipeline.settings.final
        compiled, note = self._compiled() if with_compile else (None, "not asked for")
        seats = self._seats(kernels)
        contestants = {name: Contestant(held, checked=True) for name, (_, held) in seats.items()}
        if compiled is not None:
            contestants[_COMPILED] = Contestant([compiled], checked=False)
        times: Times = {}
        if seats:
            times, failures = pipeline.meter().contest(
                contestants, pipeline.reference().main, final, LongEnough(final, len(contestants))
            )
            if _COMPILED in failures:
                note = f"torch.compile failed: {failures.pop(_COMPILED).summary}"
            self._failures |= {name: failure.summary for name, failure in failures.items()}
        found = [self._finalist(name, times) for name in times if name in seats]
        found.sort(key=lambda finalist: -finalist.over_eager.rank)
        baseline = self._over_eager(times) if _COMPILED in times else None
        if _COMPILED in times and any(finalist.over_compile is None for finalist in found[:1]):
            note = f"not measured: {pipeline.meter().why_not()}"
        best = self._with_variants(found, seats)
        return Comparison(
            finalists=tuple(f.model_copy(update={"aten": pipeline.audit(seats[f.kernel_id][1][0])}) for f in best),
            failures=self._failures,
            compile_over_eager=baseline,
            compile_note=note,
        )

    def _seats(self, kernels: Sequence[Kernel]) -> dict[str, tuple[Kernel, list[Seat]]]:
        """Those that are correct, each in its process."""
        found: dict[str, tuple[Kernel, list[Seat]]] = {}
        for kernel in kernels:
            try:
                artifact = self._pipeline.compile(kernel)
                processes = self._pipeline.settings.final.kernel_processes
                held = self._stack.enter_context(self._pipeline.candidate(kernel, artifact, processes))
            except FailedError as error:
                self._failures[kernel.id] = error.failure.summary
            else:
                for seat in held:
                    seat.stage = "comparison"
                found[kernel.id] = kernel, held
        return found

    def _compiled(self) -> tuple[Seat | None, str]:
        """torch.compile's version, called once; and how that went."""
        pipeline = self._pipeline
        settings = pipeline.settings
        seat = self._stack.enter_context(
            pipeline.spawn(2 * settings.memory_gb, trusted=True, environment={"TORCHINDUCTOR_COMPILE_THREADS": "1"})
        )
        seat.stage = "comparison"
        seat.allow(settings.compile_reference_timeout)
        case = pipeline.reference().main
        begin = time.monotonic()
        try:
            seat.order(do="compile", task=pipeline.task.model_dump_json())
            seat.order(do="build")
            seat.lay_out(case.inputs, 1, case.nesting)
            seat.write(0, case.load())
            seat.call([0])
        except FailedError as error:
            return None, f"torch.compile failed: {error.failure.summary}"
        return seat, f"compiled in {time.monotonic() - begin:.1f} s"

    def _finalist(self, name: str, times: Times) -> Finalist:
        seed = derive_seed(self._pipeline.settings.seed, "final", name)
        over_compile = self._ratio(times[_COMPILED], times[name], seed) if _COMPILED in times else None
        return Finalist(
            kernel_id=name,
            over_eager=measurement(times[REFERENCE], times[name], seed, self._pipeline.meter().why_not()),
            over_compile=over_compile,
        )

    def _over_eager(self, times: Times) -> Ratio | None:
        seed = derive_seed(self._pipeline.settings.seed, "final", "compile")
        return self._ratio(times[REFERENCE], times[_COMPILED], seed)

    def _ratio(self, slower: Sequence[Taken], faster: Sequence[Taken], seed: int) -> Ratio | None:
        """None where it cannot be told."""
        found = ratio_of(slower, faster, seed)
        return found if is_telling(found, slower, faster) else None

    def _with_variants(
        self, found: Sequence[Finalist], seats: Mapping[str, tuple[Kernel, list[Seat]]]
    ) -> list[Finalist]:
        """The finalists from the first on that every variant can be timed of; what fails is noted."""
        pipeline, final = self._pipeline, self._pipeline.settings.final
        timing = final.model_copy(
            update={"max_seconds": final.max_seconds / max(1, len(pipeline.reference().variants))}
        )
        for place, finalist in enumerate(found):
            try:
                timed = pipeline.meter().time_variants(*seats[finalist.kernel_id], timing)
            except FailedError as error:
                self._failures[finalist.kernel_id] = error.failure.summary
            else:
                variants = {name: measured for name, measured in timed.items() if name is not None}
                return [finalist.model_copy(update={"variants": variants}), *found[place + 1 :]]
        return []
