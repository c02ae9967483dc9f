"""Recurrences without their steps have the shapes, and the free sizes, of those with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
import torch
from torch import nn

from evaluators.correctness.inputs import exporting
from evaluators.correctness.inputs.exporting import Evidence, Symbolic, export_evidence, output_shapes
from evaluators.correctness.inputs.recurrent import RecurrenceShapes

pytestmark = pytest.mark.thorough


class Alone(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> object:
        return self.layer(x)


class WithState(Alone):
    def forward(self, x: torch.Tensor, state: torch.Tensor) -> object:  # type: ignore[override]
        return self.layer(x, state)[0]


class WithBoth(Alone):
    def forward(self, x: torch.Tensor, state: torch.Tensor, cell: torch.Tensor) -> object:  # type: ignore[override]
        return self.layer(x, (state, cell))[1]


def drawn(*shapes: Sequence[int]) -> list[torch.Tensor]:
    return [torch.randn(*shape) for shape in shapes]


CASES: dict[str, tuple[nn.Module, list[torch.Tensor]]] = {
    "gru": (WithState(nn.GRU(4, 5, 2)), drawn((6, 3, 4), (2, 3, 5))),
    "alone": (Alone(nn.GRU(4, 5, 2, batch_first=True)), drawn((3, 6, 4))),
    "both_ways": (WithState(nn.GRU(4, 5, 2, bidirectional=True)), drawn((6, 3, 4), (4, 3, 5))),
    "lstm": (WithBoth(nn.LSTM(4, 5, 2, batch_first=True)), drawn((3, 6, 4), (2, 3, 5), (2, 3, 5))),
    "projected": (Alone(nn.LSTM(4, 5, 2, proj_size=3, bidirectional=True)), drawn((6, 3, 4))),
    "rnn": (WithState(nn.RNN(4, 5, bias=False)), drawn((6, 3, 4), (1, 3, 5))),
    "no_batch": (Alone(nn.RNN(4, 5, nonlinearity="relu")), drawn((6, 4))),
    "all_alike": (WithState(nn.GRU(5, 5, 5)), drawn((5, 5, 5), (5, 5, 5))),
}


def sizes(evidence: Evidence) -> Mapping[tuple[int, int], object]:
    """With symbols by the order in which they come."""
    assert not evidence.failure
    symbols: dict[str, int] = {}
    return {
        place: (size.scale, symbols.setdefault(size.symbol, len(symbols)), size.shift)
        if isinstance(size, Symbolic)
        else size
        for place, size in evidence.sizes.items()
    }


@pytest.mark.parametrize("name", CASES)
def test_sizes_are_free_and_fixed_as_with_all_steps(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs = CASES[name]
    quick = export_evidence(model, inputs, 60.0)
    batch_fits = {i: [7 if size == 3 else size for size in x.shape] for i, x in enumerate(inputs)}
    shapes = output_shapes(model, inputs, batch_fits)
    refused = output_shapes(model, inputs, {**batch_fits, 0: [*batch_fits[0][:-1], 9]})
    monkeypatch.setattr(exporting, "RecurrenceShapes", torch.no_grad)
    whole = export_evidence(model, inputs, 60.0)
    assert sizes(quick) == sizes(whole)
    assert list(quick.ranges.values()) == list(whole.ranges.values())
    assert quick.numbers <= whole.numbers
    assert shapes == output_shapes(model, inputs, batch_fits)
    assert refused is None


def test_other_functions_and_packed_sequences_are_computed() -> None:
    layer, x = nn.GRU(4, 5), torch.randn(6, 3, 4)
    packed = nn.utils.rnn.pack_padded_sequence(x, [6, 4, 2])
    expected = layer(packed)[0].data
    with RecurrenceShapes():
        torch.testing.assert_close(layer(packed)[0].data, expected)
        torch.testing.assert_close(torch.tanh(x), x.tanh())
        assert not torch.equal(layer(x)[0][:, 0], expected[:6])
