"""Kernels of the built-in operator take inputs and return results nested as the reference has them, whatever its names are."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from kernelevolve.core.kernel import Kernel
from kernelevolve.core.task import Task
from kernelevolve.synthesis.builtin.aten_seed import aten_kernel
from kernelevolve.synthesis.builtin.fallback import fallback_calls
from kernelevolve.synthesis.builtin.inductor.kernel import inductor_kernel
from kernelevolve.tasks.loading import build_model, draw_inputs, load_module
from kernelevolve.tasks.structure import flatten
from tests.synthesis.conftest import THIS, load, traced
from tests.synthesis.rendering import render

PAIR = "from typing import NamedTuple\n\n\nclass Pair(NamedTuple):\n    left: torch.Tensor\n    right: torch.Tensor\n"
X = "torch.randn(6, 8)"


def task_of(forward: str, inputs: str, *, top: str = "", init: str = "pass", takes: str = "self, x") -> Task:
    source = f"""import torch
import torch.nn.functional as F
from torch import nn
{top}

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        {init}

    def forward({takes}):
        return {forward}


def get_inputs():
    return {inputs}
"""
    return Task(name="test", source=source)


CASES = {
    "nested_inputs": task_of(
        "x['b'].left * x['a'][0][0] * y + x['a'][1] * F.silu(x['b'].right)",
        f"[{{'b': Pair({X}, {X}), 'a': [({X}, None), 2.5], 'unused': ()}}, {X}]",
        top=PAIR,
        takes="self, x, y, mask=None",
    ),
    "nested_results": task_of(
        "{'b': Pair(x * 2, [x.sum(0), (x, None)]), 'a': (x.shape[0] * 2, 'text', 1.5)}", f"[{X}]", top=PAIR
    ),
    "unknown_named_tuple": task_of("__import__('collections').namedtuple('Other', 'p q')(x * 2, x + 1)", f"[{X}]"),
    "twice": task_of("(lambda y: [y, y, y[:, 0], x, y.view(-1), x.t(), y.clone()])(F.gelu(x))", f"[{X}]"),
    "as_it_is": task_of("x", f"[{X}]"),
    "star": task_of("sum(x) * more.get('scale', 2)", f"[{X}, {X}]", takes="self, *x, **more"),
    "alike": task_of("x.sigmoid() * y * z", "[X, X, X[:1].expand(6, 8)]", top=f"X = {X}", takes="self, x, y, z"),
    "windows": task_of("x.sigmoid() * 2", "[torch.randn(40).as_strided((12, 8), (2, 1))]"),
    "attributes": task_of(
        "torch.tanh(torch.cat([x, self.state], 1) @ self.forward_[0]) * self.tables['w'] * self.layers['a-b'].weight",
        f"[{X}]",
        init="self.state = torch.randn(6, 4); self.forward_ = [torch.randn(12, 8)]; self.tables = {'w': torch.randn(8)}; "
        "self.layers = nn.ModuleDict({'a-b': nn.LayerNorm(8)})",
    ),
    "names": task_of(
        "run(x @ self.w_state.t() + self._prepared() * getattr(self, '0').bias * self.__own * self.lambda_) * KNOBS + math",
        f"[{X}]",
        top="KNOBS = 3.0\nCPP_SOURCE = 1\nmath = 2.0\n\n\ndef run(x):\n    return x * CPP_SOURCE\n\n\ndef load_library(x):\n    return x\n",
        init="self.w_state = nn.Parameter(torch.randn(8, 8)); self.add_module('0', nn.Linear(8, 8)); "
        "self.__own = nn.Parameter(torch.randn(8)); self.lambda_ = load_library(2)\n\n"
        "    def _prepared(self):\n        return 1.0\n\n    def _graph(self):\n        return 2.0",
    ),
}


def agree(task: Task, module: ModuleType) -> None:
    """The kernel returns what the reference returns, nested alike."""
    loaded = load_module(task)
    reference = build_model(loaded, task.seed)
    torch.manual_seed(task.seed)
    candidate = module.ModelNew(*loaded.get_init_inputs())
    x = draw_inputs(loaded, 3)
    with torch.no_grad():
        results: list[Any] = [model(*x) for model in (reference, candidate)]
    (want, structure), (got, other) = map(flatten, results)
    assert structure == other
    for a, b in zip(want, got, strict=True):
        if isinstance(a, torch.Tensor):
            torch.testing.assert_close(b, a, rtol=2e-4, atol=2e-5)
        else:
            assert (type(a), a) == (type(b), b)


def loaded_text(kernel: Kernel) -> ModuleType:
    module = ModuleType("seed")
    exec(compile(kernel.source, "kernel.py", "exec"), module.__dict__)
    return module


@pytest.mark.parametrize("name", CASES)
def test_kernels_from_the_traced_form(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel, _ = render(traced(CASES[name]), THIS, CASES[name], ())
    agree(CASES[name], load(kernel, tmp_path, monkeypatch))


@pytest.mark.parametrize("name", CASES)
def test_the_aten_graph(name: str) -> None:
    task = CASES[name]
    loaded = load_module(task)
    agree(task, loaded_text(aten_kernel(task, build_model(loaded, 0), draw_inputs(loaded, 0))))


@pytest.mark.parametrize("name", ["nested_inputs", "nested_results", "twice", "attributes", "names"])
def test_kernels_from_the_code_of_torchinductor(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel, _ = inductor_kernel(CASES[name])
    agree(CASES[name], load(kernel, tmp_path, monkeypatch))


def test_inputs_that_a_kernel_was_not_written_for_take_the_reference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = CASES["nested_inputs"]
    kernel, _ = render(traced(task), THIS, task, ())
    loaded = load_module(task)
    reference, model = build_model(loaded, 0), load(kernel, tmp_path, monkeypatch).ModelNew()
    x, y = draw_inputs(loaded, 0)
    for count, other in enumerate([{**x, "a": [*x["a"], None]}, {**x, "a": [x["a"][0], 3.5]}], 1):
        torch.testing.assert_close(model(other, y), reference(other, y))
        assert fallback_calls(model) == count
