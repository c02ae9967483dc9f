"""Which results of PyTorch itself are good enough to judge by."""

from __future__ import annotations

import pytest
import torch

from evaluators.inputs import worth_comparing

INF, NAN = float("inf"), float("nan")


def test_rounding_is_fine_and_cancelled_sums_are_not() -> None:
    x = torch.randn(1000, dtype=torch.float64)
    assert worth_comparing(x.float(), x)
    assert worth_comparing(x.bfloat16(), x)
    terms = torch.randn(1000, dtype=torch.float64)
    exact = (terms + 1e9) - 1e9
    assert not worth_comparing((terms.float() + 1e9) - 1e9, exact)


@pytest.mark.parametrize(
    ("native", "oracle", "worth"),
    [
        ([1.0, INF], [1.0, 1e300], False),
        ([1.0, NAN], [1.0, 2.0], False),
        ([1.0, NAN, -INF], [1.0, NAN, -INF], True),
        ([1.0, INF], [1.0, -INF], False),
        ([1.0, 2.0], [1.0, NAN], False),
        ([NAN, NAN], [NAN, NAN], False),
        ([0.0, 0.0], [0.0, 0.0], True),
        ([0.0, 0.0], [0.0, 1e-60], False),
        ([], [], True),
    ],
)
def test_infinities_and_nan(native: list[float], oracle: list[float], worth: bool) -> None:
    assert worth_comparing(torch.tensor(native), torch.tensor(oracle, dtype=torch.float64)) == worth


def test_whole_numbers_are_exact_and_shapes_must_agree() -> None:
    assert worth_comparing(torch.tensor([1, 2]), torch.tensor([1, 2]))
    assert not worth_comparing(torch.zeros(2), torch.zeros(3, dtype=torch.float64))


def test_every_chunk_counts() -> None:
    x = torch.ones((1 << 20) + 5, dtype=torch.float64)
    y = x.float()
    y[-1] = NAN
    assert not worth_comparing(y, x)
