"""Running derived cases through a reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from evaluators.correctness.inputs import DerivedInputs, InputSettings, derived_cases
from evaluators.runtime.tensors import flatten_result
from kernelevolve.core.task import Task
from kernelevolve.tasks.loading import LoadedTask, build_model, draw_inputs, load_module

Legal = Callable[[Sequence[Any]], bool]
Check = Callable[[Task, Legal], DerivedInputs]


def outputs(loaded: LoadedTask, inputs: list[Any]) -> list[torch.Tensor]:
    with torch.no_grad():
        return flatten_result(build_model(loaded, loaded.task.seed)(*inputs)).tensors


def _same(a: Sequence[Any], b: Sequence[Any]) -> bool:
    return all(
        torch.equal(torch.nan_to_num(x), torch.nan_to_num(y)) if isinstance(x, torch.Tensor) else x == y
        for x, y in zip(a, b, strict=True)
    )


@pytest.fixture(scope="session")
def settings() -> InputSettings:
    return InputSettings(shapes=4, values=6, nonfinite=True, seed=0, memory_factor=1.5, export_seconds=20.0)


@pytest.fixture(scope="session")
def check(settings: InputSettings) -> Check:
    """Derives the cases of a task, and asserts what holds for every one."""

    def checked(task: Task, legal: Legal) -> DerivedInputs:
        loaded = load_module(task)
        main = draw_inputs(loaded, task.seed)
        assert legal(main), "the predicate of this test refuses the task's own inputs"
        expected = outputs(loaded, main)
        finite = [bool(torch.isfinite(y.double()).all()) for y in expected]
        derived = derived_cases(loaded, settings)
        own = sum(x.nbytes for x in main if isinstance(x, torch.Tensor))
        # What goes further than a task shows is taken only where the reference bears it: legal is what stands in for it.
        certain = [case.instead if case.tentative else case for case in derived.cases]
        for case in (each for each in certain if each is not None and not each.tentative):
            inputs = case.inputs()
            assert _same(inputs, case.inputs()), case.name
            assert [getattr(x, "dtype", type(x)) for x in inputs] == [getattr(x, "dtype", type(x)) for x in main]
            if case.kind == "values":
                assert [x.dim() for x in inputs if isinstance(x, torch.Tensor)] == [
                    x.dim() for x in main if isinstance(x, torch.Tensor)
                ]
            else:
                assert sum(x.nbytes for x in inputs if isinstance(x, torch.Tensor)) <= max(1.6 * own, 5 << 20)
            if case.nonfinite:
                continue
            assert legal(inputs), case.name
            found = outputs(loaded, inputs)
            assert [y.dim() for y in found] == [y.dim() for y in expected], case.name
            for y, was_finite in zip(found, finite, strict=True):
                assert not was_finite or bool(torch.isfinite(y.double()).all()), case.name
        return derived

    return checked
