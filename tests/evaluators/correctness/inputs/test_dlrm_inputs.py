"""Every shipped task: derived inputs are legal by what its docstring says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import torch

from evaluators.correctness.inputs import DerivedInputs
from kernelevolve.core.task import Task
from kernelevolve.tasks.catalog import find_task, list_tasks

pytestmark = pytest.mark.thorough


def _shapes(*expected: str) -> Callable[[Sequence[torch.Tensor]], bool]:
    """Whether shapes fit patterns such as "b 64": equal letters are equal sizes."""

    def fits(inputs: Sequence[torch.Tensor]) -> bool:
        sizes: dict[str, int] = {}
        for x, pattern in zip(inputs, expected, strict=True):
            names = pattern.split()
            if len(names) != x.dim():
                return False
            for name, size in zip(names, x.shape, strict=True):
                if size < 1 or (size != int(name) if name.isdigit() else sizes.setdefault(name, size) != size):
                    return False
        return True

    return fits


def _attention_pooling(inputs: Sequence[torch.Tensor]) -> bool:
    lengths = inputs[2]
    within = bool((lengths >= 1).all()) and bool((lengths <= inputs[1].shape[1]).all())
    return within and _shapes("b 64", "b l 64", "b")(inputs)


def _bags(inputs: Sequence[torch.Tensor]) -> bool:
    ids, starts = inputs
    ascending = int(starts[0]) == 0 and bool((starts.diff() >= 0).all()) and int(starts[-1]) <= ids.numel()
    longest = int(torch.diff(starts, append=torch.tensor([ids.numel()])).max())
    return ascending and longest <= 100 and bool(((ids >= 0) & (ids < 50000)).all())


def _offsets(longest: int) -> Callable[[Sequence[torch.Tensor]], bool]:
    def legal(inputs: Sequence[torch.Tensor]) -> bool:
        values, offsets = inputs
        lengths = offsets.diff()
        whole = int(offsets[0]) == 0 and int(offsets[-1]) == values.shape[0] > 0
        return whole and len(lengths) > 0 and int(lengths.min()) >= 0 and int(lengths.max()) <= longest

    return legal


def _focal_loss(inputs: Sequence[torch.Tensor]) -> bool:
    return _shapes("b o", "b o")(inputs) and bool(((inputs[1] == 0) | (inputs[1] == 1)).all())


def _map_id(inputs: Sequence[torch.Tensor]) -> bool:
    ids, keys, values = inputs
    distinct = bool((keys.diff() > 0).all()) and bool((ids >= 0).all())
    return distinct and torch.equal(values.sort().values, torch.arange(len(keys)))


def _masked_softmax(inputs: Sequence[torch.Tensor]) -> bool:
    mask = inputs[1]
    prefix = bool((mask[:, :-1] | ~mask[:, 1:]).all())
    return _shapes("b h l l", "b l")(inputs) and bool(mask[:, 0].all()) and prefix


LEGAL: Mapping[str, Callable[[Sequence[Any]], bool]] = {
    "attention_pooling": _attention_pooling,
    "bucketize_merge": _shapes("16 r"),
    "conv1d_bias_relu": _shapes("b 96 l"),
    "dense_transform": lambda x: _shapes("r 128")(x) and bool((x[0] >= -1).all()),
    "dot_interaction": _shapes("b d", "b 26 d"),
    "embedding_bag_sum": _bags,
    "event_truncate": _offsets(100),
    "feature_cross": _shapes("b 320"),
    "fm_interaction": _shapes("b 40 d"),
    "focal_loss": _focal_loss,
    "jagged_to_dense": _offsets(60),
    "layernorm_gating": _shapes("r 256", "r 256"),
    "map_id": _map_id,
    "masked_softmax": _masked_softmax,
    "pffn": _shapes("b l 64", "b 64 48", "b 48", "b 48 64"),
    "rmsnorm_residual_silu": _shapes("r 512", "r 512"),
    "swish_layernorm": _shapes("r 384"),
}


@pytest.mark.parametrize("task", [summary.name for summary in list_tasks() if summary.name.startswith("dlrm/")])
def test_derived_inputs_are_legal_and_there_are_hidden_shapes(
    task: str, check: Callable[[Task, Callable[[Sequence[Any]], bool]], DerivedInputs]
) -> None:
    derived = check(find_task(task), LEGAL[task.removeprefix("dlrm/")])
    kinds = [case.kind for case in derived.cases]
    assert kinds.count("shape") == 4
    assert kinds.count("values") >= 5
    assert len({case.name for case in derived.cases}) == len(derived.cases)
