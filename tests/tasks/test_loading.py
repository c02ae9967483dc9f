from __future__ import annotations

import inspect
import linecache
import sys
import traceback

import pytest
import torch

from kernelevolve.core.errors import UserError
from kernelevolve.core.task import Task
from kernelevolve.tasks.loading import build_model, draw_inputs, load_module

GOOD = '''"""Scale."""
import torch
from torch import nn


class Model(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width))

    def forward(self, x):
        return x * self.weight


def get_inputs():
    return [torch.randn(3, 4)]
'''
VARIANTS = "\ndef get_input_variants():\n    return {'small': [torch.randn(1, 4)]}\n"


def task(source: str) -> Task:
    return Task(name="t", source=source)


def test_optional_functions_default_to_nothing() -> None:
    loaded = load_module(task(GOOD))
    assert loaded.get_init_inputs() == []
    assert loaded.get_input_variants() == {}
    assert build_model(loaded, 0)(*draw_inputs(loaded, 0)).shape == (3, 4)


def test_init_inputs_reach_the_constructor_and_do_not_shift_the_weights() -> None:
    drawing = GOOD + "\ndef get_init_inputs():\n    return [int(4 + 0 * torch.rand(()))]\n"
    weights = [build_model(load_module(task(text)), 5).weight for text in (GOOD, drawing)]
    assert torch.equal(*weights)
    torch.manual_seed(5)
    assert torch.equal(weights[0], torch.randn(4))


def test_each_load_is_a_fresh_namespace() -> None:
    first, second = load_module(task(GOOD)), load_module(task(GOOD))
    assert first.model_class is not second.model_class
    assert sys.modules[second.model_class.__module__] is second.module


def test_source_lines_are_visible_to_inspect_and_tracebacks() -> None:
    loaded = load_module(task(GOOD))
    linecache.checkcache()
    assert "self.weight = nn.Parameter" in inspect.getsource(loaded.model_class)
    with pytest.raises(RuntimeError) as caught:
        build_model(loaded, 0)(torch.randn(5))
    assert "return x * self.weight" in "".join(traceback.format_exception(caught.value))


def test_the_compiler_of_torch_accepts_the_module() -> None:
    loaded = load_module(task(GOOD))
    model, inputs = build_model(loaded, 0), draw_inputs(loaded, 0)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    assert torch.equal(compiled(*inputs), model(*inputs))


def test_variants_are_drawn_by_name() -> None:
    loaded = load_module(task(GOOD + VARIANTS))
    assert draw_inputs(loaded, 0, "small")[0].shape == (1, 4)
    assert torch.equal(draw_inputs(loaded, 9, "small")[0], draw_inputs(loaded, 9, "small")[0])
    with pytest.raises(UserError, match="no variant 'smal': did you mean small"):
        draw_inputs(loaded, 0, "smal")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import torch\n1 / 0\n", "task t, line 2: the file raised ZeroDivisionError"),
        ("import no_such_module_here\n", "line 1: the file raised ModuleNotFoundError"),
        ("def broken(:\n", "line 1: the file raised SyntaxError"),
        ("Model = 3\ndef get_inputs(): return []\n", "Model must be a class derived from torch.nn.Module"),
        (GOOD.replace("get_inputs", "inputs"), "get_inputs must be a function"),
        (GOOD + "\nget_init_inputs = []\n", "get_init_inputs must be a function"),
    ],
)
def test_a_file_that_is_no_task_gets_one_line(source: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load_module(task(source))
    assert "\n" not in str(caught.value)
    assert f"kernelevolve_task_{task(source).id}" not in sys.modules


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ("torch.randn(3)", "get_inputs must return a list, not Tensor"),
        ("[torch.randn(3) @ torch.randn(4)]", r"line 16: get_inputs\(\) raised RuntimeError"),
        ("[torch.empty(1 << 60)]", "does not fit in memory"),
    ],
)
def test_bad_inputs_get_one_line(inputs: str, message: str) -> None:
    loaded = load_module(task(GOOD.replace("[torch.randn(3, 4)]", inputs)))
    with pytest.raises(UserError, match=message) as caught:
        draw_inputs(loaded, 0)
    assert "\n" not in str(caught.value)


def test_a_constructor_that_raises_and_bad_variants_get_one_line() -> None:
    failing = load_module(task(GOOD.replace("torch.randn(width)", "torch.randn(-1)")))
    with pytest.raises(UserError, match="line 9: the constructor of Model raised"):
        build_model(failing, 0)
    listing = load_module(task(GOOD + VARIANTS.replace("{'small': [torch.randn(1, 4)]}", "[1]")))
    with pytest.raises(UserError, match="must return a dict"):
        listing.get_input_variants()
