"""What torch.export assumed says which sizes a model takes, without asking the model."""

from __future__ import annotations

import torch
from torch import nn

from evaluators.correctness.inputs.exporting import computed_shapes, export_evidence, output_shapes


class Grouped(nn.Module):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        if x.shape[0] > 5:
            x = x * 2
        return (x.view(-1, 4, x.shape[1]).sum(1) @ y)[:, :3]


class Pooled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.BatchNorm2d(4), nn.AvgPool2d(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.layers(x).flatten(1)
        return found


def test_sizes_are_proven_where_all_that_export_assumed_holds() -> None:
    model, inputs = Grouped(), [torch.randn(8, 6), torch.randn(6, 5)]
    evidence = export_evidence(model, inputs, 60.0)
    assert evidence.proves({0: (8, 6), 1: (6, 5)})
    assert evidence.proves({0: (20, 7), 1: (7, 9)})
    assert not evidence.proves({0: (10, 7), 1: (7, 9)}), "no multiple of 4"
    assert not evidence.proves({0: (4, 7), 1: (7, 9)}), "the other branch"
    assert not evidence.proves({0: (20, 7), 1: (8, 9)}), "the inner sizes of the product differ"
    assert output_shapes(model, inputs, {0: (4, 7), 1: (7, 9)}) == [(1, 3)], "it is legal all the same"


def test_what_is_proven_is_what_the_model_takes() -> None:
    model, inputs = Pooled(), [torch.randn(2, 3, 20, 20)]
    evidence = export_evidence(model, inputs, 60.0)
    checked_kernel = [
        shape
        for shape in ((3, 3, 21, 33), (2, 3, 9, 20), (5, 3, 16, 16), (2, 3, 6, 20), (2, 4, 20, 20), (7, 3, 64, 31))
        if evidence.proves({0: shape})
    ]
    assert (7, 3, 64, 31) in checked_kernel
    assert len(checked_kernel) > 2
    for shape in checked_kernel:
        assert output_shapes(model, inputs, {0: shape}) is not None, shape


def test_a_model_that_export_fails_at_proves_nothing() -> None:
    class Counted(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * int(x.sum())

    evidence = export_evidence(Counted(), [torch.ones(4)], 60.0)
    assert not evidence.proves({0: (4,)})


def test_size_one_is_found_by_a_call_on_a_part_of_the_inputs() -> None:
    calls = []

    class Told(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            calls.append((tuple(x.shape), isinstance(x, torch._subclasses.FakeTensor)))
            return torch.relu(x)

    evidence = export_evidence(Told(), [torch.randn(8, 16)], 60.0)
    assert {low for low, _ in evidence.ranges.values()} <= {0, 1}
    real = [shape for shape, fake in calls if not fake]
    assert real, "computed, not gone through without data"
    assert all(1 in shape for shape in real)


def test_shapes_that_are_computed_are_those_that_are_found_without_data() -> None:
    model, inputs = Grouped(), [torch.randn(8, 6), torch.randn(6, 5)]
    for shapes in ({0: (4, 7), 1: (7, 9)}, {0: (20, 1), 1: (1, 2)}, {0: (10, 7), 1: (7, 9)}, {0: (8, 7), 1: (6, 9)}):
        assert computed_shapes(model, inputs, shapes) == output_shapes(model, inputs, shapes), shapes
    assert computed_shapes(model, [torch.ones(8, 6, dtype=torch.int64), inputs[1]], {0: (8, 6), 1: (6, 5)}) is None
