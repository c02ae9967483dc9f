"""Which results of PyTorch itself are good enough to judge by."""

from __future__ import annotations

import pytest
import torch

from evaluators.correctness.inputs import unfit

INF, NAN = float("inf"), float("nan")


def refused(native: torch.Tensor, oracle: torch.Tensor | None, *, strict: bool = True) -> bool:
    return bool(unfit([native], None if oracle is None else [oracle], strict=strict))


def test_rounding_is_fine_and_cancelled_sums_are_not() -> None:
    x = torch.randn(1000, dtype=torch.float64)
    assert not refused(x.float(), x)
    assert not refused(x.bfloat16(), x)
    terms = torch.randn(1000, dtype=torch.float64)
    cancelled = (terms.float() + 1e9) - 1e9, (terms + 1e9) - 1e9
    assert refused(*cancelled)
    assert not refused(*cancelled, strict=False), "as good as on the task's own inputs"


def test_a_few_elements_on_the_other_side_of_a_step_are_fine() -> None:
    x = torch.randn(1000, dtype=torch.float64)
    y = x.float()
    y[::50] += 1.0
    assert not refused(y, x)


@pytest.mark.parametrize(
    ("native", "oracle", "bad"),
    [
        ([1.0, INF], [1.0, 1e300], True),
        ([1.0, NAN], [1.0, 2.0], True),
        ([1.0, NAN, -INF], [1.0, NAN, -INF], False),
        ([1.0, INF], [1.0, -INF], False),
        ([NAN, NAN], [NAN, NAN], False),
        ([0.0, 0.0], [0.0, 0.0], False),
        ([], [], False),
    ],
)
def test_infinities_and_nan(native: list[float], oracle: list[float], bad: bool) -> None:
    assert refused(torch.tensor(native), torch.tensor(oracle, dtype=torch.float64)) == bad


def test_whole_numbers_are_exact_and_what_does_not_run_in_float64_is_held_against_itself() -> None:
    assert not refused(torch.tensor([1, 2]), torch.tensor([1, 2]))
    assert not refused(torch.tensor([1.0, NAN]), None)


def test_every_chunk_counts() -> None:
    x = torch.ones((1 << 20) + 5, dtype=torch.float64)
    y = x.float()
    y[-1] = NAN
    assert refused(y, x, strict=False)
