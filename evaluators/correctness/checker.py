"""The correctness check: a kernel is called on every case, and each result is compared with the reference outputs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

import torch

from evaluators.correctness import aliasing
from evaluators.correctness.bounds import Bounds, bounds_of
from evaluators.correctness.compare import compare, same_elements
from evaluators.correctness.inputs.checks import OTHER_PARAMETERS, UNUSUAL
from evaluators.correctness.ledger import EVALUATION_MODE, FLOAT64, INPUTS_AFTERWARDS, SECOND_CALL, Ledger
from evaluators.correctness.reference.data import Case, Reference, ReferenceOutputs
from evaluators.runtime.base import Returned, Runner
from evaluators.runtime.parameters import OTHER
from evaluators.runtime.tensors import TensorDescription, as_tensor, comparable, memory_of, same_bits
from evaluators.verdict import FailedError, failed
from kernelevolve.core.evaluation import FallbackShare, Status
from kernelevolve.core.task import Tolerance
from kernelevolve.tasks.structure import shortened

_REPEAT = Tolerance(rtol=1e-3, atol=1e-4)
SLOTS_TOGETHER = 2
"""The number of cases of the same shapes that are called back to back before their results are compared."""
_ABOUT_OTHERS = (
    "This check initializes the parameters with another seed. It gives parameters that the constructor sets to a constant or computes from "
    "others, such as the weight of a norm, other values, as after training. Make parameters with the same calls as the reference, give "
    "them the same names, and use them all."
)


class Checker:
    """Compares the results of kernels with the outputs of one reference. Its checks raise FailedError on the first mismatch."""

    def __init__(self, reference: Reference, tolerance: Tolerance) -> None:
        """Prepare checks against a reference.

        Args:
            reference: The cases with their inputs and reference outputs.
            tolerance: The tolerance of the task; the defaults of each dtype apply where it sets none.
        """
        self.reference = reference
        self._tolerance = tolerance
        self._bounds: dict[str, tuple[Bounds, ...]] = {}

    def bounds(self, expected: ReferenceOutputs) -> tuple[Bounds, ...]:
        """Return the error bounds of each output, computed once for each set of reference outputs."""
        if expected.prefix not in self._bounds:
            self._bounds[expected.prefix] = tuple(
                bounds_of(*expected.output(i), self._tolerance, expected.uncertainty(i))
                for i in range(len(expected.native))
            )
        return self._bounds[expected.prefix]

    def check(self, runner: Runner, ledger: Ledger) -> FallbackShare | None:
        """Check a kernel on every case, with other parameters, and in evaluation mode.

        Cases of the same shapes are called back to back and compared afterwards. This finds kernels that cache the results of
        earlier values, and kernels whose next call overwrites an earlier result.

        Args:
            runner: The runner process that holds the kernel.
            ledger: Records each check that passes.

        Returns:
            The share of the work that the kernel leaves to PyTorch operations on the usual cases; None where it is not known.

        Raises:
            FailedError: A result is wrong, or a call fails.
        """
        self._check_all(runner, [case for case in self.reference.cases if case.check not in UNUSUAL], ledger)
        fallback = runner.fallback_share()
        self._check_all(runner, [case for case in self.reference.cases if case.check in UNUSUAL], ledger)
        self._check_other(runner, self.reference.main, ledger)
        self._check_later(runner, self.reference.main, ledger)
        return fallback

    def _check_all(self, runner: Runner, left: list[Case], ledger: Ledger) -> None:
        while left:
            together = [c for c in left if (c.inputs, c.nesting) == (left[0].inputs, left[0].nesting)][:SLOTS_TOGETHER]
            left = [case for case in left if case not in together]
            self._check_together(runner, together, ledger)

    def _check_together(self, runner: Runner, cases: Sequence[Case], ledger: Ledger) -> None:
        # Where the reference changes its inputs in place, the second call needs its own copy of them.
        again_slot = len(cases) if any(case.effects for case in cases) else 0
        runner.lay_out(cases[0].inputs, max(len(cases), again_slot + 1), cases[0].nesting)
        for slot, case in enumerate(cases):
            runner.write(slot, case.load())
        if again_slot:
            runner.write(again_slot, cases[0].load())
        *first, again = runner.call([*range(len(cases)), again_slot])
        for slot, (case, returned) in enumerate(zip(cases, first, strict=True)):
            shared = slot > 0 and [o.pointer for o in returned.outputs] == [o.pointer for o in again.outputs]
            previous = cases[slot - 1].expected if slot else None
            self._compare(runner, returned, case.expected, case.label, previous, shared=shared)
            self._check_memory(
                runner, case, aliasing.fault(case.expected.fresh, returned.outputs, runner.input_memory())
            )
            self._check_inputs(runner, slot, case)
            ledger.add(case.check)
            ledger.add(INPUTS_AFTERWARDS)
            ledger.add(FLOAT64, sum("float" in meta["dtype"] for meta in case.expected.oracle or ()))
        self._check_again(runner, first[0], again, cases[0])
        self._check_memory(
            runner, cases[0], aliasing.same_memory(cases[0].expected.fresh, first[0].outputs, again.outputs)
        )
        ledger.add(SECOND_CALL)

    @staticmethod
    def _check_memory(runner: Runner, case: Case, fault: str) -> None:
        if fault:
            details = "Writing into a result would change something else: return new memory, such as x.clone()."
            raise failed(Status.WRONG_RESULT, runner.stage, f"{case.label}: {fault}", details)

    def _check_inputs(self, runner: Runner, slot: int, case: Case) -> None:
        """Check that a call has changed its inputs exactly as the reference does."""
        effects = case.effects
        changed = effects.positions if effects else ()
        for i, (source, found) in enumerate(zip(case.load(), runner.inputs(slot), strict=True)):
            if not isinstance(found, torch.Tensor):
                continue
            if effects is None or i not in changed:
                if not same_bits(memory_of(source), memory_of(found)):
                    raise failed(Status.WRONG_RESULT, runner.stage, f"{case.label}: input {i} was changed in place")
                continue
            place = changed.index(i)
            name = f"{case.label}, input {i}, which forward changes in place"
            native, oracle = effects.expected.output(place)
            bounds, uncertainty = self.bounds(effects.expected)[place], effects.expected.uncertainty(place)
            mismatch = compare(comparable(found), native, oracle, bounds, name, uncertainty)
            if mismatch:
                raise failed(mismatch.status, runner.stage, mismatch.summary, mismatch.details)

    def _check_again(self, runner: Runner, once: Returned, again: Returned, case: Case) -> None:
        """Check that two calls on the same values agree."""
        label = f"{case.label}, second call"
        if once.outputs == again.outputs:
            return  # Both results are the same memory, so there is nothing to compare; aliasing is checked separately.
        if len(once.outputs) == len(again.outputs) and all(map(partial(_same, runner), once.outputs, again.outputs)):
            return
        self._compare(runner, again, case.expected, label)
        for i, (early, late) in enumerate(zip(once.outputs, again.outputs, strict=True)):
            before = runner.read(early)
            bounds = bounds_of(before, before, _REPEAT)
            mismatch = compare(runner.read(late), before, before, bounds, _named(label, i, again))
            if mismatch:
                raise failed(mismatch.status, runner.stage, mismatch.summary, mismatch.details)

    def _check_other(self, runner: Runner, case: Case, ledger: Ledger) -> None:
        """Check a new model with other parameters, which finds kernels that assume the values the constructor gives."""
        other = self.reference.other
        if other is None:
            return
        runner.lay_out(case.inputs, 1, case.nesting)

        def compare_with(how: Literal["made", "named"]) -> bool:
            if not runner.use_parameters(how):
                return False
            runner.write(0, case.load())
            self._compare(runner, runner.call([0])[0], other.expected, f"{case.label}, {OTHER}")
            return True

        try:
            compare_with("made")
        except FailedError as error:
            failure = error.failure
            try:
                right = failure.status is Status.WRONG_RESULT and compare_with("named")
            except FailedError:
                right = False
            if not right:
                details = f"{failure.details}\n{_ABOUT_OTHERS}"
                raise failed(failure.status, failure.stage, failure.summary, details) from error
        runner.use_parameters("")
        ledger.add(OTHER_PARAMETERS)

    def _check_later(self, runner: Runner, case: Case, ledger: Ledger) -> None:
        """Check a new model in evaluation mode after some calls in training mode."""
        later = case.later
        if later is None:
            return
        runner.build()
        runner.lay_out(case.inputs, 1, case.nesting)
        for _ in range(later.steps):
            runner.write(0, case.load())
            runner.call([0])
        runner.write(0, case.load())
        runner.set_training(False)
        label = f"{case.label}, in evaluation mode after {later.steps} calls"
        self._compare(runner, runner.call([0])[0], later.expected, label)
        ledger.add(EVALUATION_MODE)

    def _compare(
        self,
        runner: Runner,
        returned: Returned,
        expected: ReferenceOutputs,
        label: str,
        previous: ReferenceOutputs | None = None,
        *,
        shared: bool = False,
    ) -> None:
        """Compare the results of one call with the reference outputs.

        Args:
            runner: The runner process that holds the results.
            returned: The results.
            expected: The reference outputs.
            label: The name of the case, for messages.
            previous: The reference outputs of the call before.
            shared: Whether the results lie in the same memory as those of a later call.
        """
        if len(returned.outputs) != len(expected.forms) or not returned.has(expected.structure):
            got, wanted = shortened(returned.structure), shortened(expected.structure)
            raise failed(Status.WRONG_SHAPE, runner.stage, f"{label}: returned {got}, expected {wanted}")
        self._compare_values(runner, returned, expected, label)
        for i, (output, (dtype, shape)) in enumerate(zip(returned.outputs, expected.forms, strict=True)):
            name, (native, oracle) = _named(label, i, returned), expected.output(i)
            if output.shape != shape:
                raise failed(Status.WRONG_SHAPE, runner.stage, f"{name}: shape {output.shape}, expected {shape}")
            if output.dtype != dtype:
                raise failed(Status.WRONG_SHAPE, runner.stage, f"{name}: torch.{output.dtype}, expected torch.{dtype}")
            bounds, uncertainty = self.bounds(expected)[i], expected.uncertainty(i)
            before = previous.output(i)[0] if previous and previous.forms == expected.forms else None
            mismatch = compare(runner.read(output), native, oracle, bounds, name, uncertainty, before)
            if mismatch and shared:
                summary = f"{label}: the next call overwrites the result"
                raise failed(Status.WRONG_RESULT, runner.stage, summary, mismatch.details)
            if mismatch:
                raise failed(mismatch.status, runner.stage, mismatch.summary, mismatch.details)

    def _compare_values(self, runner: Runner, returned: Returned, expected: ReferenceOutputs, label: str) -> None:
        """Compare results that are plain values: floats within the bounds of an element, all others exactly."""
        place = len(expected.forms)
        for i, (got, want) in enumerate(zip(returned.values, expected.values, strict=True)):
            wrong = got != want
            if isinstance(got, float) and isinstance(want, float):
                bounds, uncertainty = self.bounds(expected)[place], expected.uncertainty(place)
                wrong = compare(as_tensor(got), *expected.output(place), bounds, label, uncertainty) is not None
                place += 1
            if wrong:
                text = f"{label}: plain result {i} is {got!r}, expected {want!r}"
                raise failed(Status.WRONG_RESULT, runner.stage, text)


def _same(runner: Runner, a: TensorDescription, b: TensorDescription) -> bool:
    return same_elements(runner.read(a), runner.read(b))


def _named(label: str, position: int, returned: Returned) -> str:
    return label if len(returned.outputs) == 1 else f"{label}, output {position}"
