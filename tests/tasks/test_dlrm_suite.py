"""Every shipped task keeps the promises of docs/tasks.md."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.export import Dim, export

from kernelevolve.tasks.catalog import find_task, list_tasks
from kernelevolve.tasks.loading import LoadedTask, build_model, draw_inputs, load_module

pytestmark = pytest.mark.thorough

SUITE = [task for task in list_tasks() if task.name.startswith("dlrm/")]
NAMES = [task.name for task in SUITE]
ROOT = Path(__file__).parents[2]
BATCH_DIMENSION = {"dlrm/bucketize_merge": 1}
"""The dimension of the first input that counts samples, where it is not the first one."""


def tensors(result: Any) -> list[torch.Tensor]:
    return [result] if isinstance(result, torch.Tensor) else list(result)


@pytest.fixture(scope="module", params=NAMES)
def loaded(request: pytest.FixtureRequest) -> LoadedTask:
    return load_module(find_task(request.param))


def test_the_suite_covers_the_promised_operators() -> None:
    promised = {
        "rmsnorm_residual_silu", "masked_softmax", "layernorm_gating", "map_id", "bucketize_merge", "event_truncate",
        "fm_interaction", "pffn", "embedding_bag_sum", "conv1d_bias_relu", "jagged_to_dense",
    }  # fmt: skip
    assert promised <= {name.removeprefix("dlrm/") for name in NAMES}


def test_docs_list_exactly_the_shipped_tasks_with_their_summaries() -> None:
    rows = re.findall(r"^\| `(dlrm/\w+)` \| (.+) \|$", (ROOT / "docs/tasks.md").read_text(encoding="utf-8"), re.M)
    assert rows == [(task.name, task.summary) for task in SUITE]


@torch.no_grad()
def test_deterministic_finite_and_quick(loaded: LoadedTask) -> None:
    results = []
    for _ in range(2):
        model, inputs = build_model(loaded, 7), draw_inputs(loaded, 7)
        results.append(tensors(model(*inputs)))
    for first, second in zip(*results, strict=True):
        assert torch.equal(first, second)
        assert not first.is_floating_point() or bool(torch.isfinite(first).all())
        assert first.dtype in (torch.float32, torch.int64, torch.bool)
    started = time.perf_counter()
    model(*inputs)
    assert time.perf_counter() - started < 0.5


@torch.no_grad()
def test_inputs_and_weights_follow_the_seed(loaded: LoadedTask) -> None:
    first, again, other = (draw_inputs(loaded, seed) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert any(a.shape != b.shape or not torch.equal(a, b) for a, b in zip(first, other, strict=True))
    weights = [build_model(loaded, 3).state_dict() for _ in range(2)]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


@torch.no_grad()
def test_forward_leaves_its_inputs_alone(loaded: LoadedTask) -> None:
    model, inputs = build_model(loaded, 0), draw_inputs(loaded, 0)
    kept = [value.clone() for value in inputs]
    model(*inputs)
    assert all(torch.equal(a, b) for a, b in zip(inputs, kept, strict=True))


@torch.no_grad()
def test_variants_run_on_the_same_model_with_other_shapes(loaded: LoadedTask) -> None:
    model, shapes = build_model(loaded, 0), [tuple(value.shape for value in draw_inputs(loaded, 0))]
    variants = loaded.get_input_variants()
    assert 1 <= len(variants) <= 3
    for name in variants:
        inputs = draw_inputs(loaded, 0, name)
        shapes.append(tuple(value.shape for value in inputs))
        for output in tensors(model(*inputs)):
            assert not output.is_floating_point() or bool(torch.isfinite(output).all())
    assert len(set(shapes)) == len(shapes)


@torch.no_grad()
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_export_keeps_the_batch_symbolic_and_fits_every_variant(loaded: LoadedTask) -> None:
    model, inputs = build_model(loaded, 0), draw_inputs(loaded, 0)
    dims = tuple(dict.fromkeys(range(value.ndim), Dim.AUTO) for value in inputs)
    program = export(model, tuple(inputs), dynamic_shapes=dims)
    placeholders = {node.name: node.meta["val"] for node in program.graph.nodes if node.op == "placeholder"}
    traced = [placeholders[name] for name in program.graph_signature.user_inputs]
    batch = BATCH_DIMENSION.get(loaded.task.name, 0)
    assert isinstance(traced[0].shape[batch], torch.SymInt)
    for variant in loaded.get_input_variants():
        other = draw_inputs(loaded, 0, variant)
        for shape, value in zip((item.shape for item in traced), other, strict=True):
            for symbol, size in zip(shape, value.shape, strict=True):
                assert isinstance(symbol, torch.SymInt) or symbol == size
        for got, expected in zip(tensors(program.module()(*other)), tensors(model(*other)), strict=True):
            torch.testing.assert_close(got, expected)


@torch.no_grad()
def test_map_id_knows_some_ids_and_not_others() -> None:
    task = load_module(find_task("map_id"))
    ids, keys, values = draw_inputs(task, 0)
    table = dict(zip(keys.tolist(), values.tolist(), strict=True))
    assert len(table) == len(keys)
    expected = [table.get(key, -1) for key in ids.flatten().tolist()]
    assert build_model(task, 0)(ids, keys, values).flatten().tolist() == expected
    assert 0.05 < expected.count(-1) / len(expected) < 0.5


@torch.no_grad()
@pytest.mark.parametrize(("name", "last"), [("event_truncate", True), ("jagged_to_dense", False)])
def test_jagged_tasks_match_a_loop_over_the_samples(name: str, last: bool) -> None:
    task = load_module(find_task(name))
    values, offsets = draw_inputs(task, 0, "batch_37")
    length, padding = [*task.get_init_inputs(), 0.0][:2]
    dense = build_model(task, 0)(values, offsets)[0]
    for sample, (start, end) in enumerate(zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)):
        rows = values[start:end]
        rows = rows[max(0, len(rows) - length) :] if last else rows[:length]
        assert torch.equal(dense[sample, : len(rows)], rows)
        assert bool((dense[sample, len(rows) :] == padding).all())


@torch.no_grad()
def test_bucketize_merge_gives_each_feature_its_own_range() -> None:
    task = load_module(find_task("bucketize_merge"))
    (dense,) = draw_inputs(task, 0)
    model = build_model(task, 0)
    merged, first = model(dense), 0
    for feature, count in enumerate(task.get_init_inputs()[0]):
        borders = model.get_buffer(f"borders_{feature}")
        assert torch.equal(merged[:, feature], first + (dense[feature][:, None] > borders).sum(dim=1))
        first += count + 1
