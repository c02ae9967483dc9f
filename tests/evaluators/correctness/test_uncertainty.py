"""How far rounding moves results, and what then counts as right."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluators.correctness.bounds import bounds_of
from evaluators.correctness.compare import compare
from evaluators.correctness.reference.rounding import Direction, Rounding
from evaluators.correctness.reference.work import Work
from evaluators.correctness.uncertainty import Uncertainty, uncertainty_of
from kernelevolve.core.task import Tolerance


def rounded(direction: Direction, dtype: torch.dtype = torch.float32) -> Rounding:
    return Rounding(dtype, direction, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("direction", Direction)
def test_what_the_working_precision_holds_is_not_moved(direction: Direction) -> None:
    x = torch.randint(-100, 100, (50, 60)).double() / 8
    edges = torch.linspace(-8, 8, 33).double()
    with rounded(direction):
        exact = [
            x + 1,
            x * 4,
            x.sum(1),
            x @ torch.eye(60).double(),
            x.relu(),
            x.sort(1).values,
            x.floor(),
            x.t().contiguous(),
        ]
        buckets = torch.bucketize(x, edges), torch.bucketize(x, edges, right=True)
    plain = [
        x + 1,
        x * 4,
        x.sum(1),
        x @ torch.eye(60).double(),
        x.relu(),
        x.sort(1).values,
        x.floor(),
        x.t().contiguous(),
    ]
    assert all(torch.equal(a, b) for a, b in zip(exact, plain, strict=True))
    assert torch.equal(buckets[0], torch.bucketize(x, edges))
    assert torch.equal(buckets[1], torch.bucketize(x, edges, right=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_inexact_moves_by_a_unit_in_the_last_place_or_two(dtype: torch.dtype) -> None:
    x = torch.randn(4000).to(dtype).double()
    with rounded(Direction.UP, dtype):
        up = x.exp()
    with rounded(Direction.DOWN, dtype):
        down = x.exp()
    exact, eps = x.exp(), torch.finfo(dtype).eps
    assert torch.equal(up, up.to(dtype).double())
    assert bool((down < exact).all())
    assert bool((exact < up).all())
    assert float(((up - exact) / exact).max()) < 2 * eps


def test_terms_of_a_sum_move_it_by_what_they_are_not_by_what_is_left() -> None:
    x = torch.randn(1000, 64).double()
    x = torch.cat([x, -x + 1e-6], 1)
    with rounded(Direction.RANDOM):
        found = (x * 3.1)[:, :64].sum(1) + (x * 3.1)[:, 64:].sum(1)
    off = (found - (x * 3.1).sum(1)).abs()
    assert 1e-7 < float(off.median()) < 1e-4, "of an answer of about 2e-4"


def step(
    native: list[float], oracle: list[float], others: list[list[float]]
) -> tuple[torch.Tensor, torch.Tensor, Uncertainty]:
    n, o = torch.tensor(native), torch.tensor(oracle, dtype=torch.float64)
    return n, o, uncertainty_of(n, o, [torch.tensor(other).double() for other in others], 1e-4, 1e-4)


def test_at_a_step_each_side_is_right_and_nothing_between() -> None:
    zeros, sides = [0.0] * 99, [3.0, 4.0, 3.0, 4.0]
    n, o, uncertainty = step([*zeros, 4.0], [*zeros, 3.0], [[*zeros, side] for side in sides])

    def right(last: float, other: float = 0.0) -> bool:
        candidate = torch.tensor([*zeros[1:], other, last])
        return compare(candidate, n, o, bounds_of(n, o, Tolerance(), uncertainty), "y", uncertainty) is None

    assert right(3.0)
    assert right(4.0)
    assert not right(3.5)
    assert not right(5.0)
    assert not right(4.0, other=1.0), "only where the step is"


def test_whole_numbers_have_sides_too() -> None:
    native = torch.tensor([5, 6, 7])
    uncertainty = uncertainty_of(native, native, [torch.tensor([5, 7, 7])], 0.0, 0.0)
    bounds = bounds_of(native, native, Tolerance(), uncertainty)
    for candidate, right in (([5, 6, 7], True), ([5, 7, 7], True), ([5, 8, 7], False), ([6, 6, 7], False)):
        assert (compare(torch.tensor(candidate), native, native, bounds, "y", uncertainty) is None) == right


def test_where_few_digits_are_right_others_may_have_as_few_but_not_none() -> None:
    generator = torch.Generator().manual_seed(0)
    o = torch.randn(3000, dtype=torch.float64, generator=generator)
    n, other = ((o + 0.02 * torch.randn(3000, generator=generator)).float() for _ in range(2))
    uncertainty = uncertainty_of(n, o, [other.double()], 1e-4, 1e-4)
    bounds = bounds_of(n, o, Tolerance(), uncertainty)
    third = (o + 0.02 * torch.randn(3000, generator=generator)).float()
    assert compare(third, n, o, bounds, "y", uncertainty) is None
    assert compare(torch.zeros(3000), n, o, bounds, "y", uncertainty) is not None
    assert compare(n * 1.3, n, o, bounds, "y", uncertainty) is not None


def test_steps_leave_the_bounds_of_other_elements_as_they_are() -> None:
    o = torch.randn(10_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    n = o.float()
    tight = bounds_of(n, o, Tolerance())
    n[::200] += 1.0
    with_steps = bounds_of(n, o, Tolerance())
    assert with_steps.atol == tight.atol
    assert with_steps.rms == pytest.approx(tight.rms, rel=1e-3)
    assert compare(n.half().float(), n, o, with_steps, "y") is not None


def test_printed_values_show_the_digit_that_differs() -> None:
    o = torch.tensor([64.0, 0.4261], dtype=torch.float64)
    n = torch.tensor([63.0, 0.4261])
    found = compare(torch.tensor([62.0, 0.4261]), n, o, bounds_of(n, o, Tolerance()), "y")
    assert found is not None
    assert "expected 63.0 (64.0 in float64), got 62.0" in found.summary
    near = torch.nextafter(n[1:], torch.tensor(1.0))
    strict = Tolerance(atol=0.0, rtol=0.0)
    told = compare(near, n[1:], n[1:], bounds_of(n[1:], n[1:], strict).model_copy(update={"atol": 0.0}), "y")
    assert told is not None
    assert "expected 0.4261, got 0.42610002" in told.summary


def test_a_boolean_is_a_byte_of_0_or_1() -> None:
    native = torch.tensor([True, False, True])
    bounds = bounds_of(native, native, Tolerance())
    assert compare(native.clone(), native, native, bounds, "y") is None
    found = compare(torch.tensor([1, 0, 2], dtype=torch.uint8).view(torch.bool), native, native, bounds, "y")
    assert found is not None
    assert "a boolean whose byte is 2" in found.summary


def test_work_is_counted() -> None:
    with Work() as work:
        x = torch.ones(100, 50) @ torch.ones(50, 20)
        x.view(-1).sort(stable=True)
        x.view(-1).sort()
    assert work.written >= 2000 + 4 * 2000
    assert work.moved >= work.written + 2 * 100 * 50 * 20 // 32
    assert {"mm", "sort.stable", "sort"} <= work.operations


@settings(deadline=None, max_examples=30)
@given(own=st.integers(1, 12), more=st.integers(1, 5), seed=st.integers(0, 99))
def test_as_many_elements_are_somewhat_farther_off_as_pytorchs_own_come_near(own: int, more: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    oracle = torch.randn(4000, generator=generator, dtype=torch.float64)
    room = 1e-4 + 1e-4 * oracle.abs()
    native = oracle + 4e-5 * (torch.rand(4000, generator=generator, dtype=torch.float64) - 0.5)
    native[:own] += 0.5 * room[:own]
    n = native.float()
    bounds = bounds_of(n, oracle, Tolerance())
    assert bounds.outliers == own

    def verdict(count: int, times: float) -> bool:
        candidate = oracle.clone()
        candidate[100 : 100 + count] += times * room[100 : 100 + count]
        return compare(candidate.float(), n, oracle, bounds, "y") is None

    assert verdict(own, 2.0)
    assert not verdict(own + more, 2.0)
    assert not verdict(1, 5.0)
