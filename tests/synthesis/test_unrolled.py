"""References that are traced for the task's own shapes alone: steps of a loop, and what free sizes do not allow."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from kernelevolve.core.task import AllowAten, Task
from kernelevolve.synthesis.builtin import tracing
from kernelevolve.synthesis.builtin.fallback import fallback_calls
from kernelevolve.synthesis.builtin.tracing import is_unrolled, trace_task
from kernelevolve.synthesis.traced.program import Program
from kernelevolve.tasks.loading import draw_inputs, load_module

from .conftest import load
from .test_builtin_operator import prepared, propose

pytestmark = pytest.mark.thorough

SOURCE = """import torch
from torch import nn


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = {layer}

    def forward(self, x):
        {forward}


def get_inputs():
    return [torch.randn({shape})]
"""


def task_of(layer: str, shape: str, forward: str = "return self.layer(x)[0]", more: str = "") -> Task:
    return Task(name="unrolled", source=SOURCE.format(layer=layer, forward=forward, shape=shape) + more)


LOOP = "for _ in range(30):\n            x = torch.tanh(x) * 1.5\n        return x"
VARIANTS = '\n\ndef get_input_variants():\n    return {"other": [torch.randn(5, 6)]}\n'


@pytest.mark.parametrize(
    ("layer", "shape", "unrolled"),
    [
        ("nn.GRU(4, 4)", "200, 3, 4", True),
        ("nn.LSTM(4, 4)", "200, 3, 4", True),
        ("nn.LSTM(4, 4)", "8, 3, 4", False),
        ("nn.Sequential(*(nn.Linear(4, 4) for _ in range(100)))", "3, 4", False),
    ],
)
def test_what_has_the_steps_of_a_loop_is_unrolled(layer: str, shape: str, unrolled: bool) -> None:
    assert is_unrolled(load_module(task_of(layer, shape))) is unrolled


def test_a_kernel_of_an_unrolled_loop_is_right_for_other_shapes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing, "_UNROLLED", 50)
    task = task_of("nn.Identity()", "4, 6", LOOP)
    module = load(propose(prepared(task), task, 0, step=1).kernel, tmp_path, monkeypatch)
    model, reference = module.ModelNew(), module.Model()
    for calls, shape in enumerate(((4, 6), (3, 6), (4, 7, 2))):
        x = torch.randn(shape)
        torch.testing.assert_close(model(x), reference(x))
        assert fallback_calls(model) == calls


def test_where_other_shapes_are_timed_or_must_be_written_the_sizes_are_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "_UNROLLED", 50)

    def sizes(task: Task) -> int:
        program = trace_task(task)
        assert isinstance(program, Program)
        return len(program.sizes)

    task = task_of("nn.Identity()", "4, 6", LOOP)
    assert sizes(task) == 0
    assert sizes(task.model_copy(update={"allow_aten": AllowAten.NONE})) == 2
    assert sizes(task_of("nn.Identity()", "4, 6", LOOP, VARIANTS)) == 2


@pytest.mark.parametrize(
    ("inputs", "forward", "others"),
    [
        ("torch.randn(2, 3, 9, 9), torch.randn(4, 3, 3, 3)", "return F.conv2d(x, w)", ((2, 3, 7, 8), (5, 3, 2, 2))),
        ("torch.randn(7, 5), torch.randn(5)", "return x.diagonal() * w", ((4, 6), (4,))),
    ],
)
def test_what_free_sizes_do_not_allow_is_traced_for_the_sizes_of_the_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inputs: str, forward: str, others: tuple[tuple[int, ...], ...]
) -> None:
    source = SOURCE.replace("[torch.randn({shape})]", f"[{inputs}]").replace("forward(self, x)", "forward(self, x, w)")
    head = "import torch.nn.functional as F\n"
    task = Task(name="sizes", source=head + source.format(layer="nn.Identity()", forward=forward))
    program = trace_task(task)
    assert isinstance(program, Program), program
    module = load(propose(prepared(task), task, 0).kernel, tmp_path, monkeypatch)
    model, reference = module.ModelNew(), module.Model()
    own = draw_inputs(load_module(task), 0)
    torch.testing.assert_close(model(*own), reference(*own), rtol=1e-4, atol=1e-4)
    assert fallback_calls(model) == 0
    x = [torch.randn(shape) for shape in others]
    torch.testing.assert_close(model(*x), reference(*x))
    assert fallback_calls(model) == 1
