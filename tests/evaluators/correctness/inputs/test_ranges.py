"""Ranges that a task declares."""

from __future__ import annotations

import pytest

from evaluators.correctness.inputs import InputSettings, declared_ranges, derived_cases
from kernelevolve.core.errors import UserError
from kernelevolve.core.task import Task
from kernelevolve.tasks.loading import LoadedTask, load_module

SOURCE = """import torch
from torch import nn


class Model(nn.Module):
    def forward(self, ids, x, n):
        return ids + x * n


def get_inputs():
    return [torch.randint(0, 10, (64,)), torch.rand(64), 3]
"""


def declaring(ranges: str) -> LoadedTask:
    return load_module(Task(name="t", source=f"{SOURCE}\n\ndef get_input_ranges():\n    return {ranges}\n"))


def ranges_of(ranges: str) -> list[tuple[float, float] | None]:
    loaded = declaring(ranges)
    return declared_ranges(loaded, loaded.get_inputs())


def test_ranges_are_optional() -> None:
    loaded = load_module(Task(name="t", source=SOURCE))
    assert declared_ranges(loaded, loaded.get_inputs()) == [None, None, None]
    assert ranges_of("[(0, 500), None, None]") == [(0, 500), None, None]
    assert ranges_of("[(0, 500), [-1.0, 2.0], None]") == [(0, 500), (-1.0, 2.0), None]


@pytest.mark.parametrize(
    ("ranges", "what"),
    [
        ("3", "must return a list, not int"),
        ("[None]", "returns 1 ranges for 3 inputs"),
        ("[(0, 5, 9), None, None]", "not a pair of numbers"),
        ("[('a', 5), None, None]", "not a pair of numbers"),
        ("[(float('nan'), 5), None, None]", "not a pair of numbers"),
        ("[(5, 5), None, None]", "the range from 5 to below 5 is empty"),
        ("[(0.0, 20.0), None, None]", "must be whole numbers"),
        ("[(0, 5), None, None]", "outside of 0 to below 5"),
        ("[None, None, (0, 9)]", "it is not a tensor of numbers"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_ill_formed_ranges_are_one_line(ranges: str, what: str) -> None:
    with pytest.raises(UserError, match=r"^task t.*get_input_ranges") as raised:
        ranges_of(ranges)
    assert what in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_range_that_is_no_function_is_refused() -> None:
    with pytest.raises(UserError, match="get_input_ranges must be a function"):
        load_module(Task(name="t", source=f"{SOURCE}\n\nget_input_ranges = [None, None, None]\n"))


def test_declared_ranges_widen_the_derived_values(settings: InputSettings) -> None:
    cases = derived_cases(declaring("[(0, 500), (0.0, 4.0), None]"), settings).cases
    ids, x = zip(*(case.inputs()[:2] for case in cases if case.kind == "values"), strict=True)
    assert max(int(i.max()) for i in ids) == 499
    assert min(int(i.min()) for i in ids) == 0
    assert 3.9 < max(float(v.max()) for v in x) < 4.0
    assert min(float(v.min()) for v in x) >= 0.0
