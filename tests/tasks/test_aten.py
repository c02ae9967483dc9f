"""Operators of PyTorch's OpInfo database as tasks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

pytest.importorskip("expecttest", reason="PyTorch's operator database imports it")

from kernelevolve.core.errors import UserError
from kernelevolve.core.task import Task
from kernelevolve.tasks.aten import making
from kernelevolve.tasks.aten.source import AtenTasks
from kernelevolve.tasks.catalog import find_task, full_name, list_groups, members_of
from kernelevolve.tasks.loading import build_model, draw_inputs, load_module
from kernelevolve.tasks.source import TaskSource
from tests.conformance.task_source import TaskSourceConformance


class TestConformance(TaskSourceConformance):
    def source(self) -> TaskSource:
        return AtenTasks()

    def name(self, folder: Path) -> str:
        del folder
        return "aten:nn.functional.gelu"


@torch.no_grad()
def made(name: str, dtype: str = "") -> tuple[str, list[torch.Tensor], torch.Tensor]:
    """The source, its inputs, and the first result."""
    found = making.make(name, dtype)
    assert "source" in found, found
    loaded = load_module(Task(name=name, source=found["source"]))
    inputs = draw_inputs(loaded, 0)
    result = build_model(loaded, 0)(*inputs)
    for variant in loaded.get_input_variants():
        build_model(loaded, 0)(*draw_inputs(loaded, 0, variant))
    return found["source"], inputs, result


def test_an_elementwise_operator_is_enlarged_and_keeps_the_samples_sizes_as_a_variant() -> None:
    source, (x,), result = made("nn.functional.gelu")
    assert "return torch.nn.functional.gelu(x0" in source
    assert 1 << 16 <= x.numel() <= 1 << 20
    assert torch.equal(result, torch.nn.functional.gelu(x))
    assert '"sample"' in source or "'sample'" in source


def test_equal_sizes_of_a_product_grow_together() -> None:
    _, (a, b), result = made("mm")
    assert torch.equal(result, a @ b)
    assert min(*a.shape, *b.shape) >= 64


def test_a_dtype_and_an_overload_are_what_the_name_says() -> None:
    source, (x,), result = made("softmax.int", "bfloat16")
    assert "torch.ops.aten.softmax.int(x0" in source
    assert x.dtype is result.dtype is torch.bfloat16
    assert made("bitwise_and")[1][0].dtype is torch.int64, "the first dtype that it takes"


def test_values_keep_what_the_operator_asks_of_them() -> None:
    _, (positive, *_), _ = made("linalg.cholesky")
    assert bool((torch.linalg.eigvalsh(positive.double()) > 0).all())
    _, (x, *_), result = made("acosh")
    assert float(x.min()) >= 1
    assert bool(result.isfinite().all())
    source, _, result = made("std_mean.unbiased")
    assert "torch.std_mean(x0" in source
    assert len(result) == 2


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("bernoulli", "its results are random"),
        ("empty_like", "not initialised"),
        ("zeros_like", "do not depend on the values of its tensors"),
        ("arange", "takes no tensor"),
        ("softmax.int_out", "writes into"),
        ("add_.Tensor", "writes into its inputs"),
        ("sparse.mm.reduce", "sparse"),
    ],
)
def test_what_cannot_become_a_task_is_refused(name: str, reason: str) -> None:
    with torch.no_grad():
        found = making.make(name, "")
    assert reason in found["refused"], found


def test_a_dtype_that_the_operator_does_not_take_is_refused() -> None:
    assert making.make("softmax", "int8")["refused"].startswith("softmax takes no int8 on a CPU: it takes ")


def test_the_same_task_is_made_each_time_by_a_process_of_its_own() -> None:
    task = find_task("aten:nn.functional.gelu")
    assert task.name == "aten:nn.functional.gelu"
    assert making.make("nn.functional.gelu", "") == {"source": task.source}


def test_names_are_those_of_the_database() -> None:
    members = members_of("aten:") or ()
    assert len(members) > 400
    softmax = next(member for member in members if member.name == "aten:softmax")
    assert "float32, float64" in softmax.summary
    assert not any(re.search(r"[a-z]_$|sparse|empty", member.name) for member in members)
    assert full_name("aten:softmax@bfloat16") == "aten:softmax@bfloat16"
    assert [group.name for group in list_groups()][-1] == "aten:"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("aten:sofmax", "there is no operator sofmax in PyTorch's OpInfo database, .*did you mean aten:softmax"),
        ("aten:softmax@", "write aten:OPERATOR or aten:OPERATOR@DTYPE"),
        ("aten:", "write aten:OPERATOR"),
    ],
)
def test_a_name_that_is_no_task_is_one_line(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        find_task(name)
    assert "\n" not in str(caught.value)


def test_without_the_package_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kernelevolve.tasks.aten.source._readable", lambda: False)
    with pytest.raises(UserError, match=r"needs expecttest: pip install 'kernelevolve\[aten\]'"):
        find_task("aten:nothing_of_this_name")
