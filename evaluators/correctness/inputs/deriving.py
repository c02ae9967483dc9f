"""Derivation of cases from a task: hidden shapes, other distributions of values, other plain arguments, other batch sizes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import nn

from evaluators.correctness.inputs.cases import DerivedCase, DerivedInputs, InputSettings, Kind
from evaluators.correctness.inputs.checks import NONFINITE_VALUES, SHAPES, VALUES
from evaluators.correctness.inputs.dimensions import Draw, find_dimensions, observe
from evaluators.correctness.inputs.exporting import Evidence, computed_shapes, export_evidence, output_shapes
from evaluators.correctness.inputs.facts import Facts, Seen, look, merge
from evaluators.correctness.inputs.model_numbers import model_numbers
from evaluators.correctness.inputs.ranges import declared_ranges
from evaluators.correctness.inputs.relations import Bound, Ordered
from evaluators.correctness.inputs.shapes import reshape_inputs
from evaluators.correctness.inputs.sizes import Sizes, hidden_sizes
from evaluators.correctness.inputs.values.choosing import (
    applicable,
    changeable_constants,
    fixed_values,
    further,
    takes_nonfinite,
)
from evaluators.correctness.inputs.values.distributions import (
    BELOW,
    FURTHER,
    LITTLE_BELOW,
    MANY_NONFINITE,
    NONFINITE,
    OTHER_CONSTANTS,
    OUTSIDE,
    Distribution,
)
from evaluators.correctness.inputs.values.making import another, other_constants, redistribute
from evaluators.correctness.inputs.wider_dtypes import restored, unchanging, widened
from kernelevolve.core.seeds import derive_seed
from kernelevolve.tasks.flat_model import taking_leaves
from kernelevolve.tasks.loading import LoadedTask, build_model, draw_inputs, flat_inputs

_DRAWS = 3
"""The number of draws of the main inputs from which facts are read."""
_CHECKED_OPERATIONS = 4000
"""The number of operations that are traced without data to find the shapes that the model accepts, which takes about a second. It is a
count, not a time, so that the outcome depends on the task alone."""

_PLAIN = 4
"""The largest number of plain arguments that are replaced by other values."""
_AFFORDABLE_BYTES = 4 << 20
"""The bytes that inputs of hidden shapes may take, however small the main inputs are."""
_SMALL_BYTES = 1 << 16
"""The least bytes of the inputs of cases in which values matter and sizes do not."""


def derived_cases(loaded: LoadedTask, settings: InputSettings, *, light: bool = False) -> DerivedInputs:
    """Derive cases from a task. All choices depend only on the task and `settings.seed`.

    This runs the task's own code, so it must be called only in processes in which the reference may run. The reference may raise on a
    derived case, which is then dropped.

    Args:
        loaded: The task.
        settings: The number of cases and how they are made.
        light: Whether a call of the reference is so fast that the shapes it accepts are found by calls instead of by tracing.

    Returns:
        The derived cases.

    Raises:
        UserError: The task's functions raise, or declare ill-formed ranges.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        return _Deriving(loaded, settings, light=light).result()


class _Deriving:
    """Derives the cases of one task."""

    def __init__(self, loaded: LoadedTask, settings: InputSettings, *, light: bool) -> None:
        self.loaded = loaded
        self.light = light
        self.settings = settings
        self.seeds = [derive_seed(settings.seed, "derived inputs", k) for k in range(_DRAWS)]
        self.notes: list[str] = []
        self.skipped: dict[str, list[str]] = {}

    def skip(self, check: str, why: str) -> None:
        """Note why a check has no or fewer cases."""
        if why not in self.notes:
            self.notes.append(why)
        self.skipped.setdefault(check, []).append(why)

    def result(self) -> DerivedInputs:
        loaded = self.loaded
        self.given, self.nesting = flat_inputs(loaded, draw_inputs(loaded, self.seeds[0]))
        first = [widened(x) for x in self.given]
        self.ranges = declared_ranges(loaded, first)
        torch.manual_seed(self.seeds[0])
        variants = [
            [widened(x) for x in flat_inputs(loaded, given, name)[0]]
            for name, given in loaded.get_input_variants().items()
        ]
        self.facts, main = self._facts(first, variants)
        evidence, model = self._export()
        numbers = model_numbers(model, loaded.get_init_inputs())
        self.dimensions = find_dimensions(main, [observe(v) for v in variants], self.facts, evidence, numbers)
        self.notes += [group.describe() for group in self.dimensions.groups]
        legal = self._legal(first, model, evidence)
        cases = [*self._shapes(first, legal), *self._values(first, self._small(first, legal))]
        cases += self._batches(first)
        return DerivedInputs(tuple(cases), self.dimensions, tuple(self.notes), self.skipped, evidence.timed_out)

    def _draw(self, seed: int) -> list[Any]:
        """Draw the main inputs and return stand-ins for their leaves."""
        return [widened(x) for x in flat_inputs(self.loaded, draw_inputs(self.loaded, seed))[0]]

    def _restored(self, made: Sequence[Any]) -> list[Any]:
        return [restored(x, like) for x, like in zip(made, self.given, strict=True)]

    def _model(self) -> nn.Module:
        """Return the reference, with a forward that takes leaves."""
        model = build_model(self.loaded, self.loaded.task.seed)
        return taking_leaves(model, self.nesting, vars(self.loaded.module))

    def _facts(self, first: list[Any], variants: Sequence[list[Any]]) -> tuple[dict[int, Facts], list[Draw]]:
        """Return the facts of each tensor, and the properties of each main draw. Only one draw is held beside the first."""
        tensors = [i for i, x in enumerate(first) if isinstance(x, torch.Tensor)]
        seen: dict[int, list[Seen]] = {i: [look(first[i])] for i in tensors}
        constant = dict.fromkeys(tensors, True)
        main = [observe(first)]
        for seed in self.seeds[1:]:
            again = self._draw(seed)
            main.append(observe(again))
            for i in tensors:
                seen[i].append(look(again[i]))
                constant[i] &= first[i].shape == again[i].shape and torch.equal(first[i], again[i])
        alike = [v for v in variants if len(v) == len(first)]
        others = {i: [look(v[i]) for v in alike if isinstance(v[i], torch.Tensor)] for i in tensors}
        return {i: merge(seen[i], others[i], constant=constant[i]) for i in tensors}, main

    def _export(self) -> tuple[Evidence, nn.Module]:
        model = self._model()
        evidence = export_evidence(model, self.given, self.settings.export_seconds)
        if evidence.failure:
            self.skip(SHAPES, f"torch.export failed: {evidence.failure}")
        return evidence, self._model()

    def _legal(self, first: list[Any], model: nn.Module, evidence: Evidence) -> Callable[[Sizes], bool]:
        checks = max(4, _CHECKED_OPERATIONS // max(evidence.operations, 1))

        def legal(sizes: Sizes) -> bool:
            nonlocal checks
            shapes = self._new_shapes(first, sizes)
            if not self._has_room(shapes):
                return False
            if evidence.proves(shapes):
                return True
            checks -= 1
            if (
                evidence.failure
                or checks < 0
                or (self.light and computed_shapes(model, self.given, shapes) is not None)
            ):
                return True
            return output_shapes(model, self.given, shapes) is not None

        return legal

    def _small(self, first: list[Any], legal: Callable[[Sizes], bool]) -> Sizes:
        """Return smaller sizes for cases in which only values matter; empty where the main inputs are small, or all sizes fixed."""
        groups = self.dimensions.groups
        free = [g for g, group in enumerate(groups) if group.free and not group.follows]
        if not free:
            return {}
        longest = max(free, key=lambda g: groups[g].size)
        for divisor in (64, 32, 16, 8, 4, 2):
            sizes = {longest: max(groups[longest].low, groups[longest].size // divisor)}
            if self._bytes(first, sizes) >= _SMALL_BYTES and legal(sizes):
                return sizes
        return {}

    def _shapes(self, first: list[Any], legal: Callable[[Sizes], bool]) -> list[DerivedCase]:
        groups = self.dimensions.groups
        own = self._bytes(first, {})
        found = hidden_sizes(
            groups,
            self.settings.shapes,
            derive_seed(self.settings.seed, "sizes"),
            lambda sizes: self._bytes(first, sizes),
            max(int(own * self.settings.memory_factor), _AFFORDABLE_BYTES),
            legal,
        )
        if len(found) < self.settings.shapes:
            why = f"{len(found)} hidden shapes instead of {self.settings.shapes}: no other sizes are legal"
            self.skip(SHAPES, why)
        return [self._shape_case(number, sizes) for number, sizes in enumerate(found)]

    def _shape_case(self, number: int, sizes: Sizes) -> DerivedCase:
        def make(*, spread: bool) -> list[Any]:
            drawn = self._draw(self.seeds[number % _DRAWS])
            generator = torch.Generator().manual_seed(derive_seed(self.settings.seed, "shape", number))
            return self._restored(reshape_inputs(drawn, self.dimensions, sizes, self.facts, generator, spread=spread))

        places = [
            f"x{p.source}[{p.dim}]={p.size(n)}" for g, n in sizes.items() for p in self.dimensions.groups[g].places
        ]
        name = f"shape: {', '.join(places)}"
        spread, plain = (
            DerivedCase(name, Kind.SHAPE, ties=False, nonfinite=False, make=partial(make, spread=s))
            for s in (True, False)
        )
        # Integers below a size may have another limit than that size, so that larger ones may be illegal.
        return replace(spread, tentative=True, instead=plain) if self._refers() else plain

    def _refers(self) -> bool:
        return any(isinstance(r, Bound) for r in self.dimensions.relations)

    def _new_shapes(self, first: list[Any], sizes: Sizes) -> dict[int, list[int]]:
        """Return the new shape of each tensor; where the number of values follows from rows, the average number is assumed."""
        shapes = {i: [int(s) for s in x.shape] for i, x in enumerate(first) if isinstance(x, torch.Tensor)}
        for g, group in enumerate(self.dimensions.groups):
            n = sizes.get(g)
            if group.follows:
                share = [sizes[r] / self.dimensions.groups[r].size for r in self.dimensions.rows_of(g) if r in sizes]
                n = math.ceil(group.size * share[0]) if share else None
            if n is not None:
                for p in group.places:
                    shapes[p.source][p.dim] = p.size(n)
        return shapes

    def _has_room(self, shapes: Mapping[int, Sequence[int]]) -> bool:
        """Return whether the new sizes leave room for distinct integers below them."""
        bounds = [r for r in self.dimensions.relations if isinstance(r, Bound) and self.facts[r.what].distinct]
        return all(shapes[r.target][r.dim] >= shapes[r.what][-1] for r in bounds)

    def _bytes(self, first: list[Any], sizes: Sizes) -> int:
        shapes = self._new_shapes(first, sizes)
        return sum(math.prod(shape) * first[i].element_size() for i, shape in shapes.items())

    def _values(self, first: list[Any], sizes: Sizes) -> list[DerivedCase]:
        fixed = {**fixed_values(first, self.facts, self.dimensions.relations), **unchanging(self.given)}
        self.notes += [f"x{i}: its values stay as drawn, {why}" for i, why in sorted(fixed.items())]
        chosen = applicable(first, self.facts, fixed, self.settings.values)
        if len(chosen) < self.settings.values:
            why = f"{len(chosen)} distributions of values instead of {self.settings.values}: no others apply"
            self.skip(VALUES, why)
        more = further(first, self.facts, fixed, self.ranges) if self.settings.values else []
        if not self.settings.nonfinite:
            pass
        elif takes_nonfinite(first, self.facts, fixed, self.ranges):
            more += [NONFINITE, MANY_NONFINITE]
        else:
            self.skip(NONFINITE_VALUES, "no floating input is without a known range, order or sum")
        chosen += [(each.name, each) for each in more]
        cases = [self._value_case(name, distribution, fixed, sizes) for name, distribution in chosen]
        return [*cases, *self._constants(first, sizes), *self._plain()] if self.settings.values else cases

    def _plain(self) -> list[DerivedCase]:
        """Return a case for each of the first plain arguments, with another value in its place."""
        places = [i for i, x in enumerate(self.given) if isinstance(x, bool | int | float)][:_PLAIN]

        def make(place: int) -> list[Any]:
            made = self._draw(self.seeds[place % _DRAWS])
            made[place] = another(made[place])
            return self._restored(made)

        return [
            DerivedCase(
                f"{another(self.given[i])} for x{i}",
                Kind.ARGUMENTS,
                ties=False,
                nonfinite=False,
                make=partial(make, i),
                tentative=True,
            )
            for i in places
        ]

    def _batches(self, first: list[Any]) -> list[DerivedCase]:
        """Return a case with several samples where the task has one, which torch.export takes for a fixed size."""
        single = [isinstance(x, torch.Tensor) and x.dim() > 1 and x.shape[0] == 1 for x in first]
        varies = any(
            group.free for group in self.dimensions.groups if any(p.dim == 0 and single[p.source] for p in group.places)
        )
        if not any(single) or varies or not self.settings.shapes:
            return []

        def make() -> list[Any]:
            draws = [self._draw(seed) for seed in self.seeds]
            alike = all(a.shape == b.shape for a, b, s in zip(draws[0], draws[-1], single, strict=True) if s)
            if not alike:
                raise TypeError("sizes differ from draw to draw")
            return self._restored([torch.cat(xs) if s else xs[0] for *xs, s in zip(*draws, single, strict=True)])

        name = f"{len(self.seeds)} samples"
        return [DerivedCase(name, Kind.BATCH, ties=False, nonfinite=False, make=make, tentative=True)]

    def _value_case(self, name: str, distribution: Distribution, fixed: Mapping[int, str], sizes: Sizes) -> DerivedCase:
        def make() -> list[Any]:
            drawn, generator = self._drawn_small(name, sizes)
            return self._restored(redistribute(drawn, distribution, self.facts, fixed, self.ranges, generator))

        return DerivedCase(
            f"values: {name}",
            Kind.VALUES,
            distribution.ties,
            distribution.nonfinite,
            make,
            outside=distribution in OUTSIDE,
            tentative=distribution in (*FURTHER, LITTLE_BELOW)
            or any(i not in fixed and f.square for i, f in self.facts.items()),
            instead=self._value_case(LITTLE_BELOW.name, LITTLE_BELOW, fixed, sizes) if distribution is BELOW else None,
        )

    def _drawn_small(self, name: str, sizes: Sizes) -> tuple[list[Any], torch.Generator]:
        seed = derive_seed(self.settings.seed, "values", name)
        drawn = self._draw(self.seeds[seed % _DRAWS])
        generator = torch.Generator().manual_seed(seed)
        if sizes:
            drawn = reshape_inputs(drawn, self.dimensions, sizes, self.facts, generator)
        return drawn, generator

    def _constants(self, first: list[Any], sizes: Sizes) -> list[DerivedCase]:
        """Return a case with other values for inputs that are the same in every draw; all other inputs stay as drawn."""
        fixed = {**unchanging(self.given), **dict.fromkeys(self._related(), "it is ordered relative to others")}
        chosen = changeable_constants(first, self.facts, fixed, self.ranges)
        for i, facts in self.facts.items():
            if facts.constant and i not in chosen and first[i].numel():
                why = f"x{i} is the same in every draw: a kernel may treat it as a constant"
                self.skip(VALUES, why)
        if not chosen:
            return []

        def make() -> list[Any]:
            drawn, generator = self._drawn_small(OTHER_CONSTANTS.floats or "", sizes)
            made = [other_constants(x, self.facts[i], generator) if i in chosen else x for i, x in enumerate(drawn)]
            return self._restored(made)

        name = f"values: {OTHER_CONSTANTS.floats}"
        return [DerivedCase(name, Kind.VALUES, ties=False, nonfinite=False, make=make, tentative=True)]

    def _related(self) -> set[int]:
        """Return the inputs whose values are ordered relative to those of another input that varies."""
        constant = {i for i, facts in self.facts.items() if facts.constant}
        pairs = [{r.lower, r.upper} for r in self.dimensions.relations if isinstance(r, Ordered)]
        return {i for pair in pairs if not pair <= constant for i in pair}
