"""Computation of a task's reference data, in a runner process that runs only the task's own code.

The data are the inputs, PyTorch's own results, the float64 oracle, and the results under other roundings.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from evaluators.correctness.bounds import bounds_of
from evaluators.correctness.constant_results import ConstantResults
from evaluators.correctness.determinism import NotDeterministicError, alike, check_same, differing, state_of
from evaluators.correctness.inputs.cases import DerivedCase, InputSettings, Kind
from evaluators.correctness.inputs.checks import OTHER_PARAMETERS, SHAPES
from evaluators.correctness.inputs.deriving import derived_cases
from evaluators.correctness.inputs.ranges import declared_ranges
from evaluators.correctness.inputs.suitability import unfit
from evaluators.correctness.inputs.wider_dtypes import widened
from evaluators.correctness.reference.arguments import DrawnArguments, SavedArguments, write_arguments
from evaluators.correctness.reference.derived_parameters import derived_parameters
from evaluators.correctness.reference.outputs import MAIN_ROUNDINGS, ROUNDINGS, OutputsWriter
from evaluators.correctness.reference.runs import CallResults, ReferenceRuns, plain_attributes
from evaluators.correctness.reference.work import Work
from evaluators.correctness.ties import tied
from evaluators.runtime import tensors
from evaluators.runtime.parameters import PerturbedParameters, constants_of, perturbed
from kernelevolve.core.errors import UserError
from kernelevolve.core.evaluation import VARYING_RESULTS
from kernelevolve.core.record import Record
from kernelevolve.core.seeds import derive_seed
from kernelevolve.core.task import Task
from kernelevolve.tasks.eager import made_eager
from kernelevolve.tasks.loading import LoadedTask, build_model, draw_inputs, flat_inputs, load_module
from kernelevolve.tasks.structure import Structure, shortened

_TRIAL_STRIDE = 1000
"""The difference between the seeds of two trials."""
_DRAW_STRIDE = 1_000_003
"""The difference between the seeds of two draws for timed calls."""
_CHANCES = 4
"""The number of further calls with other random numbers, where a call draws some. Their results must be the same."""
_STEPS = 2
"""The number of calls before the one in evaluation mode."""
_DERIVED_WORK = 6_000_000_000
"""The elements that the reference may read or write on all derived inputs together, which limits their number."""
_LEAST_DERIVED = 4
"""The number of derived inputs that is tried however much work they are."""
_LIGHT_WORK = 200_000_000
"""The elements read or written by a call up to which the call takes less time than tracing the model without data."""
_HUGE_BYTES = 512 << 20
"""The bytes of one draw of inputs below which a second draw is made even if both exceed `draw_bytes`."""


class ReferenceSettings(Record):
    """How much reference data is computed."""

    trials: int
    """The number of seeds of the main inputs."""
    max_draws: int
    """The largest number of draws of inputs for timed calls, for each set of shapes."""
    device: str = "cpu"
    """The type of the device that computes the results."""
    draw_bytes: int
    """The bytes that these draws may take; the first is made in any case, and the second unless it is huge."""
    derived: InputSettings
    """The settings of derived inputs."""


def _label(variant: str | None, trial: int) -> str:
    if variant is not None:
        return f"variant {variant}"
    return "inputs" if trial == 0 else f"inputs, seed {trial}"


def _init(loaded: LoadedTask) -> list[dict[str, Any]] | None:
    torch.manual_seed(loaded.task.seed)
    try:
        return [tensors.encode(value) for value in loaded.get_init_inputs()]
    except TypeError:
        return None


class ReferenceComputation:
    """Computes the reference data of one task into one folder: first `own`, then `derived`.

    Both methods return a part of the manifest that `data.read_reference` reads; or `refused`, why no kernel of the task can be judged; or
    `error`, why these cases cannot be computed.
    """

    def __init__(self, task: Task, folder: Path, settings: Mapping[str, Any]) -> None:
        """Prepare the computation.

        Args:
            task: The task.
            folder: The folder to write the data to.
            settings: The fields of `ReferenceSettings`.
        """
        self._task = task
        self._seed = task.seed
        self._folder = folder
        self._settings = ReferenceSettings.model_validate(settings)
        self._work: Work | None = None
        """The work of a run on the main inputs; None where the reference does not run in float64."""
        self._sameness = ConstantResults()
        self._finite = False
        """Whether all results on the main inputs are finite."""
        self._far_off = 0.0
        """The share of the elements of the results on the main inputs that are far off the oracle."""

    def own(self) -> dict[str, Any]:
        """Compute the task's own cases: its main inputs, under several seeds, and its variants."""

        def compute() -> dict[str, Any]:
            self._loaded = load_module(self._task)
            self._runs = ReferenceRuns(self._loaded, device=self._settings.device)
            self._outputs = OutputsWriter(self._folder, self._loaded.task.tolerance, self._runs)
            cases: list[dict[str, Any]] = []
            for variant in (None, *self._loaded.get_input_variants()):
                for trial in range(self._settings.trials if variant is None else 1):
                    cases.append(self._case(variant, trial, f"case{len(cases)}"))
            return {"cases": cases, "init": _init(self._loaded), "made_eager": made_eager()}

        return self._or_message(compute)

    def derived(self, main: Mapping[str, Any]) -> dict[str, Any]:
        """Compute the cases that are derived from the task's own.

        Args:
            main: The first case that `own` returned.
        """
        return self._or_message(lambda: self._derived(main))

    def _or_message(self, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        try:
            return compute()
        except NotDeterministicError as error:
            return {"refused": str(error)}
        except UserError as error:
            return {"error": str(error)}
        except (MemoryError, RuntimeError) as error:
            if "allocate" in str(error) or isinstance(error, MemoryError):
                return {"error": f"task {self._task.name}: it does not fit in memory; make the inputs smaller"}
            raise

    def _case(self, variant: str | None, trial: int, name: str) -> dict[str, Any]:
        seed = self._seed + _TRIAL_STRIDE * trial
        given = draw_inputs(self._loaded, seed, variant)
        leaves, nesting = flat_inputs(self._loaded, given, variant)
        described = write_arguments(leaves, self._folder, f"{name}.draw0.in")
        arguments = SavedArguments(self._loaded, self._folder, f"{name}.draw0.in", described, nesting)
        case: dict[str, Any] = {
            "case": name,
            "variant": variant,
            "trial": trial,
            "label": _label(variant, trial),
            "inputs": described,
            "nesting": nesting.model_dump(),
            "draws": 1 if trial else self._draws(variant, name, described, nesting),
        }
        if trial == 0 and variant is None:
            native = self._main(arguments, case, seed)
            self._main_arguments = arguments
        else:
            native = self._runs.native(self._runs.build(), arguments, seed)
        self._check_chance(arguments, native, seed)
        if trial == 1:
            self._check_memory(arguments, native, seed)
        if variant is None:
            self._sameness.add(native.results)
        if trial == 0 and variant is None:
            # Raises where the declared ranges are wrong, so that the task's author learns of it.
            declared_ranges(self._loaded, [widened(x) for x in leaves])
        if trial == 0:
            self._check_sharing(leaves, given, arguments, native, seed)
        return {**case, **self._outputs.write(f"{name}.", arguments, native, MAIN_ROUNDINGS)}

    def _main(self, arguments: SavedArguments, case: dict[str, Any], seed: int) -> CallResults:
        """Return the results on the main inputs, and add those in evaluation mode to `case` where they differ.

        The results must not depend on random numbers, which a kernel cannot draw in the same way, nor on earlier calls. This also finds
        out which state of the model calls change.
        """
        runs, loaded = self._runs, self._loaded
        model = runs.build()
        lazy = [name for name, p in model.named_parameters() if is_lazy(p)]
        if lazy:
            raise UserError(
                f"task {loaded.task.name}: parameter {lazy[0]} has no size yet: call a lazy module once in the constructor of Model"
            )
        runs.look(model, arguments.leaves())
        before, attributes = state_of(model), plain_attributes(model)
        native = runs.native(model, arguments, seed)
        if not native.forms:
            raise UserError(
                f"task {loaded.task.name}: forward returns no tensor but {shortened(native.structure)}: "
                "return one, such as torch.tensor(value)"
            )
        changing = differing(before, state_of(model))
        restorable = plain_attributes(model) == attributes
        del before, model
        fresh = runs.build()
        again = [runs.native(fresh, arguments, each) for each in (seed + 7919, seed)]
        check_same(loaded, native, again[0], "two runs on the same inputs differ")
        state = (
            f": it depends on {', '.join(changing)}, which forward changes; make it an input and return its new value"
        )
        check_same(loaded, native, again[1], "a second call gives another result" + (state if changing else ""))
        fresh.eval()
        later = runs.native(fresh, arguments, seed)
        del fresh
        runs.changing = changing if restorable else None
        self._finite = all(bool(torch.isfinite(t).all()) for t in native.results if t.is_floating_point())
        work = Work()
        oracle = runs.wide(arguments, native, mode=work)
        if oracle is not None:
            self._work = self._outputs.work = work
            self._far_off = self._share_far_off(native, oracle)
        if changing or not alike(native, later):

            def prepare(wide: nn.Module) -> None:
                for _ in range(_STEPS):
                    wide(*arguments(wide=True))
                wide.eval()

            outputs = self._outputs.write(f"{case['case']}.later.", arguments, later, ROUNDINGS, prepare)
            case["later"] = {"steps": _STEPS, **outputs}
        return native

    def _check_chance(self, arguments: SavedArguments, native: CallResults, seed: int) -> None:
        """Raise NotDeterministicError where the results depend on random numbers, which a kernel cannot draw in the same way."""
        if not native.random:
            return
        for i in range(1, _CHANCES + 1):
            other = self._runs.native(self._runs.build(), arguments, derive_seed(seed, "chance", i))
            check_same(self._loaded, native, other, "forward draws random numbers, which change its result")

    def _check_memory(self, arguments: SavedArguments, native: CallResults, seed: int) -> None:
        """Raise UserError where the results depend on the inputs of an earlier call."""
        model = self._runs.build()
        before = state_of(model)
        self._runs.native(model, self._main_arguments, seed)
        changing = differing(before, state_of(model))
        if not alike(native, self._runs.native(model, arguments, seed)):
            what = f"it depends on {', '.join(changing)}, which forward changes" if changing else "it stores them"
            raise UserError(
                f"task {self._loaded.task.name}: the result depends on the inputs of earlier calls: {what}; "
                "make the stored state an input and return its new value"
            )

    def _check_sharing(
        self, leaves: Sequence[Any], given: Sequence[Any], arguments: SavedArguments, native: CallResults, seed: int
    ) -> None:
        """Raise UserError where the results are others if inputs share memory; the reference and kernels get separate copies of each."""
        places = [x.untyped_storage().data_ptr() for x in leaves if isinstance(x, torch.Tensor) and x.numel()]
        if len(set(places)) == len(places):
            return
        if self._settings.device != "cpu":
            # On another device each argument is a copy, so that this is found on the CPU.
            runs = ReferenceRuns(self._loaded)
            native = runs.native(runs.build(), arguments, seed)
        else:
            runs = self._runs
        together = runs.native(runs.build(), DrawnArguments(leaves, given, arguments), seed)
        if not alike(native, together):
            raise UserError(
                f"task {self._loaded.task.name}: inputs share memory, and forward gives another result where they do not: "
                "have get_inputs return copies, such as x.clone()"
            )

    def _derived(self, main: Mapping[str, Any]) -> dict[str, Any]:
        """Compute the derived cases for which the reference has a usable result, and say what was left out."""
        nesting = Structure.model_validate(main["nesting"])
        light = self._work is not None and self._work.moved <= _LIGHT_WORK
        derived = derived_cases(self._loaded, self._settings.derived, light=light)
        most = max(_LEAST_DERIVED, _DERIVED_WORK // max(self._work.moved, 1)) if self._work else len(derived.cases)
        kept: list[dict[str, Any]] = []
        skipped: dict[str, list[str]] = {}

        def skip(case: DerivedCase, why: str) -> None:
            skipped.setdefault(case.check, []).append(f"{case.name}: {why}")

        chosen = _spread_over(derived.cases, most)
        for case in derived.cases:
            if case not in chosen:
                skip(case, f"a run of the reference is so much work that only {most} further inputs are used")
                continue
            computed = self._derived_case(case, f"derived{len(kept)}", main, nesting)
            if isinstance(computed, str) and case.instead is not None:
                computed = self._derived_case(case.instead, f"derived{len(kept)}", main, nesting)
            if isinstance(computed, str):
                skip(case, computed)
            else:
                kept.append(computed)
        for check, reasons in derived.skipped.items():
            skipped.setdefault(check, []).extend(reasons)
        other, why = self._other(main, nesting)
        if why:
            skipped[OTHER_PARAMETERS] = [why]
        if self._sameness.same:
            skipped[VARYING_RESULTS] = [
                f"the result was the same for all {self._sameness.count} sets of inputs: a kernel that reads no input may pass"
            ]
        return {
            "cases": kept,
            "notes": list(derived.notes),
            "skipped": skipped,
            "timed_out": [SHAPES] if derived.timed_out else [],
            "other": other,
        }

    def _derived_case(
        self, case: DerivedCase, name: str, main: Mapping[str, Any], nesting: Structure
    ) -> dict[str, Any] | str:
        """Return the manifest entry of a derived case, or the reason why it is not used."""
        loaded, runs = self._loaded, self._runs
        if (case.outside or case.nonfinite) and (self._work is None or self._work.truncates):
            return "the conversion of NaN and of numbers out of range to integers is undefined"
        try:
            described = write_arguments(case.inputs(), self._folder, f"{name}.draw0.in")
            arguments = SavedArguments(loaded, self._folder, f"{name}.draw0.in", described, nesting)
            native = runs.native(runs.build(), arguments, self._seed)
        except (UserError, TypeError) as error:
            return str(error).removeprefix(f"task {loaded.task.name}: ")
        self._check_chance(arguments, native, self._seed)
        if case.kind is Kind.VALUES and not case.nonfinite:
            self._sameness.add(native.results)
        oracle = runs.wide(arguments, native)
        why = (
            _unlike(native, main)
            or tied(case, native, described, self._work)
            or unfit(
                native.results,
                oracle,
                strict=case.kind is Kind.VALUES and not case.nonfinite,
                finite=case.tentative and self._finite,
            )
        )
        if (
            not why
            and case.tentative
            and case.kind is Kind.VALUES
            and self._share_far_off(native, oracle) > self._far_off
        ):
            why = "PyTorch's own result is less precise than on the task's inputs"
        if why:
            return why
        return {
            **{"case": name, "variant": None, "trial": 0, "label": case.name, "inputs": described, "draws": 1},
            "nesting": main["nesting"],
            "check": case.check,
            **self._outputs.write(f"{name}.", arguments, native, ROUNDINGS, oracle=oracle, nonfinite=case.nonfinite),
        }

    def _share_far_off(self, native: CallResults, oracle: Sequence[torch.Tensor] | None) -> float:
        """Return the share of the elements of PyTorch's own results that are off by more than a part of their tolerance."""
        pairs = [(n, o) for n, o in zip(native.results, oracle or (), strict=False) if n.is_floating_point()]
        tolerance = self._loaded.task.tolerance
        far = sum(bounds_of(n, o, tolerance).outliers for n, o in pairs)
        return float(far / max(1, sum(n.numel() for n, _ in pairs)))

    def _other(self, main: Mapping[str, Any], nesting: Structure) -> tuple[dict[str, Any] | None, str]:
        """Return the manifest entry of the results with other parameters, or None and the reason why there is none."""
        model = self._runs.build()
        if not any(True for _ in (*model.parameters(), *model.buffers())):
            return None, "the reference has no parameters"
        del model
        why = ""
        seed = derive_seed(self._settings.derived.seed, "other parameters")
        try:
            built, derived = derived_parameters(lambda: build_model(self._loaded, self._seed, seed))
            constants = constants_of(built, build_model(self._loaded, self._seed), derived)
        except (UserError, KeyError) as error:
            return None, str(error).removeprefix(f"task {self._loaded.task.name}: ")
        for signed in (True, False):
            others = PerturbedParameters(seed=seed, constants=constants, signed=signed)
            with perturbed(others) as state:
                others = state.numbered(build_model(self._loaded, self._seed, seed))
            entry, why = self._with_others(others, main, nesting)
            if entry is not None:
                return entry, ""
        return None, why

    def _with_others(
        self, others: PerturbedParameters, main: Mapping[str, Any], nesting: Structure
    ) -> tuple[dict[str, Any] | None, str]:
        runs = self._runs.with_others(others)
        arguments = SavedArguments(self._loaded, self._folder, f"{main['case']}.draw0.in", main["inputs"], nesting)
        try:
            native = runs.native(runs.build(), arguments, self._seed)
        except UserError as error:
            return None, str(error).removeprefix(f"task {self._loaded.task.name}: ")
        oracle = runs.wide(arguments, native)
        forms = [[dtype, list(shape)] for dtype, shape in native.forms]
        if native.structure != main["structure"] or forms != [[dtype, list(shape)] for dtype, shape in main["forms"]]:
            return None, "the results have another form"
        why = unfit(native.results, oracle, strict=True, finite=self._finite)
        if why:
            return None, why
        outputs = self._outputs.write("other.", arguments, native, ROUNDINGS, oracle=oracle, runs=runs)
        return {"parameters": others.model_dump(), **outputs}, ""

    def _draws(self, variant: str | None, name: str, described: Sequence[dict[str, Any]], nesting: Structure) -> int:
        """Write further draws of the same shapes for timed calls, and return the number of draws including the first."""
        size = sum(
            (self._folder / f"{name}.draw0.in{i}").stat().st_size for i, m in enumerate(described) if "value" not in m
        )
        most = min(
            self._settings.max_draws, max(self._settings.draw_bytes // max(1, size), 2 if size < _HUGE_BYTES else 1)
        )
        count = 1
        while count < most:
            values = draw_inputs(self._loaded, self._seed + _DRAW_STRIDE * count, variant)
            leaves, other = flat_inputs(self._loaded, values, variant)
            metas = write_arguments(leaves, self._folder, f"{name}.draw{count}.in")
            if other != nesting or json.dumps(metas) != json.dumps(list(described)):
                break  # Shapes or plain values are random, so that this draw would be another case.
            count += 1
        return count


def _spread_over(cases: Sequence[DerivedCase], most: int) -> Sequence[DerivedCase]:
    """Return up to `most` cases, taken from the checks in turn."""
    places: dict[str, int] = {}
    order: list[tuple[int, int, DerivedCase]] = []
    for case in cases:
        places[case.check] = places.get(case.check, 0) + 1
        order.append((places[case.check], len(order), case))
    return [case for _, _, case in sorted(order, key=lambda each: each[:2])[:most]]


def _unlike(native: CallResults, main: Mapping[str, Any]) -> str:
    """Return why the results of a derived case differ in form from those on the main inputs; empty where they do not."""
    ranks = [(dtype, len(shape)) for dtype, shape in main["forms"]]
    if native.structure != main["structure"] or [(dtype, len(shape)) for dtype, shape in native.forms] != ranks:
        return "the results have another form"
    return ""
