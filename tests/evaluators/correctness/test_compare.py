"""A result held against the reference's and the oracle."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from evaluators.correctness.bounds import bounds_of
from evaluators.correctness.compare import Mismatch
from evaluators.correctness.compare import compare as compare_within
from kernelevolve.core.evaluation import Status
from kernelevolve.core.task import Tolerance


def compare(
    candidate: torch.Tensor, native: torch.Tensor, oracle: torch.Tensor, tolerance: Tolerance, label: str
) -> Mismatch | None:
    return compare_within(candidate, native, oracle, bounds_of(native, oracle, tolerance), label)


def result(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return x, x.double()


def test_rounding_passes_and_a_lower_precision_does_not() -> None:
    exact = torch.randn(3000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    native = exact.float()
    assert compare(native * (1 + 1e-6), native, exact, Tolerance(), "y") is None
    assert compare(native.bfloat16().float(), native, exact, Tolerance(), "y") is not None
    assert compare(native.half().float(), native, exact, Tolerance(), "y") is not None


def test_zeros_do_not_pass_where_values_are_small() -> None:
    native, oracle = result(torch.full((100,), 1e-6))
    found = compare(torch.zeros(100), native, oracle, Tolerance(), "y")
    assert found is not None
    assert found.status is Status.WRONG_RESULT


def test_nan_and_infinity_keep_their_places() -> None:
    native = torch.tensor([1.0, float("nan"), float("inf"), -float("inf")])
    assert compare(native.clone(), native, native.double(), Tolerance(), "y") is None
    for i in range(4):
        other = native.clone()
        other[i] = 5.0
        assert compare(other, native, native.double(), Tolerance(), "y") is not None


def test_every_chunk_is_compared() -> None:
    native = torch.ones((1 << 21) + 7)
    for place in (0, 1 << 20, (1 << 21) + 6):
        other = native.clone()
        other[place] = 2.0
        found = compare(other, native, native.double(), Tolerance(), "y")
        assert found is not None
        assert f"[{place}]" in found.summary


@given(st.integers(0, 2**31), st.integers(1, 500))
def test_integers_are_exact(seed: int, count: int) -> None:
    native = torch.randint(-(2**40), 2**40, (count,), generator=torch.Generator().manual_seed(seed))
    assert compare(native.clone(), native, native, Tolerance(), "y") is None
    assert compare(native + 1, native, native, Tolerance(), "y") is not None
