"""The tasks at the sizes of production models: what their docstrings say of memory is what they take. Nothing large is computed."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import torch

from kernelevolve.tasks.catalog import find_task, list_tasks
from kernelevolve.tasks.loading import LoadedTask, build_model, draw_inputs, load_module

ROOT = Path(__file__).parents[2]
SUITE = [task for task in list_tasks() if task.name.startswith("dlrm-gpu/")]
DRAWN = ("dlrm-gpu/map_id_10000x50000", "dlrm-gpu/event_truncate_16384")
"""Tasks whose inputs follow from values, so that they have to be drawn."""


def size(tensors: list[torch.Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


@torch.no_grad()
def held(loaded: LoadedTask) -> int:
    """The bytes of inputs, parameters, buffers and results."""
    if loaded.task.name in DRAWN:
        model, inputs = build_model(loaded, 0), draw_inputs(loaded, 0)
    else:
        with torch.device("meta"):
            model, inputs = build_model(loaded, 0), loaded.get_inputs()
    results = model(*inputs)
    parts = [*inputs, *(results if isinstance(results, tuple) else [results]), *model.parameters(), *model.buffers()]
    return size(parts)


@pytest.mark.parametrize("name", [task.name for task in SUITE])
def test_the_docstring_says_what_it_holds_in_memory(name: str) -> None:
    task = find_task(name)
    said = re.search(
        r"holds (\d+) MB of inputs, parameters and results", ast.get_docstring(ast.parse(task.source)) or ""
    )
    assert said is not None
    assert int(said[1]) == pytest.approx(held(load_module(task)) / 1e6, rel=0.01)


@torch.no_grad()
@pytest.mark.parametrize("name", [task.name for task in SUITE])
def test_the_smallest_variant_runs_and_is_finite(name: str) -> None:
    loaded = load_module(find_task(name))
    model = build_model(loaded, 0)
    torch.manual_seed(0)
    smallest = min(loaded.get_input_variants().values(), key=size)
    results = model(*smallest)
    for result in results if isinstance(results, tuple) else [results]:
        assert result.dtype is torch.int64 or bool(result.isfinite().all())


def test_docs_list_exactly_these_tasks() -> None:
    text = (ROOT / "docs/tasks.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(dlrm-gpu/\w+)` \| (.+) \|$", text, re.M)
    assert rows == [(task.name, task.summary) for task in SUITE]
