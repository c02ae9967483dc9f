"""Defects are named by what they are; what has no pattern gets no name."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from evaluators.correctness.mismatch import pattern

SEEDS = st.integers(0, 1 << 30)
SHAPES = st.lists(st.integers(4, 12), min_size=1, max_size=3).map(tuple)
QUICK = settings(deadline=None, max_examples=40)


def drawn(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    """Numbers away from zero, so that each defect is one at every element."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return x + 0.1 * x.sign()


def other(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    return drawn(shape, seed + 1)


WHOLE = {
    "zero": (torch.zeros_like, "All elements are zero."),
    "NaN": (lambda w: w * float("nan"), "All elements are NaN."),
    "infinite": (lambda w: w / 0, "All elements are infinite."),
    "one value": (lambda w: torch.full_like(w, 2.5), "All elements are 2.5."),
    "sign": (lambda w: -w, "All elements have the wrong sign"),
    "twice": (lambda w: 2 * w, r"factor 2 \(added twice\?\)"),
    "mean": (lambda w: w / 64, r"factor 0.015625 \(1/64\)"),
    "factor": (lambda w: 1.37 * w, "All elements are off by the factor 1.37"),
    "offset": (lambda w: w - 3.25, r"All elements are off by -3.25\."),
}


@QUICK
@given(st.sampled_from(sorted(WHOLE)), st.lists(st.integers(4, 12), min_size=2, max_size=3).map(tuple), SEEDS)
def test_what_is_wrong_everywhere(name: str, shape: tuple[int, ...], seed: int) -> None:
    defect, words = WHOLE[name]
    assert re.search(words, pattern(defect(drawn(shape, seed)), drawn(shape, seed)))


PARTIAL = {
    "absolute": (torch.abs, "absolute values"),
    "clamped at zero": (torch.relu, "zero where they should be negative"),
    "clamped": (lambda w: w.clamp(-0.3, 0.3), "clamped to 0.3 in magnitude"),
}


@QUICK
@given(st.sampled_from(sorted(PARTIAL)), SEEDS)
def test_what_is_wrong_with_some_values(name: str, seed: int) -> None:
    w = drawn((6, 20), seed)
    defect, words = PARTIAL[name]
    assert words in pattern(defect(w), w)


@QUICK
@given(SEEDS)
def test_a_missing_clamp_and_a_lost_fraction(seed: int) -> None:
    w = drawn((6, 20), seed)
    assert "no ReLU" in pattern(w, w.relu())
    assert "fraction is cut off" in pattern((10 * w).trunc(), 10 * w)
    w[0] *= 4
    assume((5e4 * w).abs().max() > 70000)
    assert "65504, the largest float16" in pattern((5e4 * w).half().float(), 5e4 * w)


@QUICK
@given(SHAPES, SEEDS, st.data())
def test_right_values_at_wrong_places(shape: tuple[int, ...], seed: int, data: st.DataObject) -> None:
    w = drawn(shape, seed)
    dim = data.draw(st.integers(0, len(shape) - 1))
    assert (
        pattern(w.flip(dim), w)
        == f"Reversed along dimension {dim}: index i holds the values of index {shape[dim] - 1} - i."
    )
    order = torch.randperm(shape[dim], generator=torch.Generator().manual_seed(seed))
    assume((order != torch.arange(shape[dim])).sum() > 2)
    told = pattern(w.index_select(dim, order), w)
    # A random order of few indices may be one of the others.
    assert told.startswith(f"The indices of dimension {dim} are in another order: ") or told.startswith(
        ("Shifted", "Reversed")
    )
    if "another order" in told:
        for at, source in re.findall(r"index (\d+) holds the values of index (\d+)", told):
            assert int(order[int(at)]) == int(source)


@QUICK
@given(st.lists(st.integers(6, 14), min_size=1, max_size=3).map(tuple), SEEDS, st.data())
def test_shifts(shape: tuple[int, ...], seed: int, data: st.DataObject) -> None:
    w = drawn(shape, seed)
    dim = data.draw(st.integers(0, len(shape) - 1))
    shift = data.draw(st.sampled_from([-2, -1, 1, 2]))
    sign = "-" if shift > 0 else "+"
    words = f"Shifted along dimension {dim}: index i holds the values of index i {sign} {abs(shift)}"
    assert pattern(w.roll(shift, dim), w) == f"{words}, wrapping around."
    filled = w.roll(shift, dim)
    filled.narrow(dim, 0 if shift > 0 else shape[dim] + shift, abs(shift)).fill_(0)
    assert pattern(filled, w) == f"{words}."


@QUICK
@given(st.lists(st.integers(3, 9), min_size=2, max_size=4).map(tuple), SEEDS, st.data())
def test_transposed_and_repeated(shape: tuple[int, ...], seed: int, data: st.DataObject) -> None:
    w = drawn(shape, seed)
    a, b = sorted(data.draw(st.sets(st.integers(0, len(shape) - 1), min_size=2, max_size=2)))
    moved = w.transpose(a, b).contiguous().view(shape)
    assume(not torch.equal(moved, w))
    assert f"Dimensions {a} and {b} are transposed" in pattern(moved, w)
    told = pattern(w.narrow(a, 0, 1).expand(shape).contiguous(), w)
    assert told == f"Every index of dimension {a} holds the values of index 0."


@QUICK
@given(st.integers(20, 300), SEEDS, st.data())
def test_tails_ranges_and_remainders(length: int, seed: int, data: st.DataObject) -> None:
    w = drawn((5, length), seed)
    first = data.draw(st.integers(2, length - 2))
    y = w.clone()
    y[:, first:] = other((5, length - first), seed)
    told = pattern(y, w)
    assert f"indices {first} to {length - 1}, the end" in told
    for tile in re.findall(r"\d+", told.split("tiles of")[1].split(",")[0]) if "tiles" in told else []:
        assert length % int(tile) == length - first
    last = data.draw(st.integers(1, first - 1))
    y = w.clone()
    y[1:3, last : first + 1] = 0
    told = pattern(y, w)
    assert f"indices {last} to {first} of dimension 1 (of {length})" in told
    assert "indices 1 to 2 of dimension 0 (of 5)" in told
    assert told.endswith("The wrong elements are zero.")


@QUICK
@given(st.integers(2, 16), st.integers(0, 15), SEEDS)
def test_every_nth(step: int, start: int, seed: int) -> None:
    assume(start < step)
    w = drawn((80, 3), seed)
    y = w.clone()
    y[start::step] = 0
    told = pattern(y, w)
    assert re.search(rf"every {step}(st|nd|rd|th) index, from {start} on, of dimension 0", told), told


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda y: y[1:].normal_(generator=torch.Generator().manual_seed(1)), "Only index 0 of dimension 0 (of 8) is right."),
        (lambda y: y[3].zero_(), "exactly those at index 3 of dimension 0 (of 8)."),
        (lambda y: y[:, 192:].zero_(), "the partial last tile for tiles of 16 or 32 or 64,"),
        (lambda y: y.index_fill_(1, torch.tensor([0, 199]), 0), "the border: the first 1 and the last 1 indices"),
        (lambda y: y.view(-1)[1003:].zero_(), "The first 1003 elements in memory order are right; of the 597 after"),
        (lambda y: y.view(-1)[::7].zero_(), "Every 7th element in memory order is wrong, from index 0 on"),
        (lambda y: y.index_fill_(1, torch.tensor([5, 77, 78, 150]), 0), "indices 5, 77, 78, 150 of dimension 1"),
    ],
)  # fmt: skip
def test_places(spoil: object, words: str) -> None:
    w = drawn((8, 200), 3)
    y = w.clone()
    spoil(y)  # type: ignore[operator]
    assert words in pattern(y, w)


def test_triangles() -> None:
    w = drawn((2, 9, 9), 5)
    assert "exactly those above the diagonal" in pattern(w.tril(), w)
    assert "exactly those on or below the diagonal" in pattern(w.triu(1), w)
    y = w.clone()
    y.diagonal(dim1=1, dim2=2).zero_()
    assert "exactly the diagonal" in pattern(y, w)


@QUICK
@given(SEEDS)
def test_integers(seed: int) -> None:
    w = torch.randint(300, 5000, (7, 9), generator=torch.Generator().manual_seed(seed))
    w[0] = -w[0]
    w[1] %= 100
    assert "one too large" in pattern(w + 1, w)
    assert "off by one, up or down" in pattern(w + (torch.arange(9) % 2 * 2 - 1), w)
    assert "wrapped around to int8" in pattern(w.to(torch.int8).long(), w)
    assert "saturated at -128 and 127, the range of int8" in pattern(w.clamp(-128, 127), w)
    assert "factor 3" in pattern(3 * w, w) or (w == 0).any()
    assert "off by +17" in pattern(w + 17, w)


@QUICK
@given(SEEDS)
def test_lower_precision(seed: int) -> None:
    a, b = drawn((32, 64), seed), drawn((64, 32), seed + 1)
    w = a @ b
    assert "representable in bfloat16" in pattern(w.bfloat16().float(), w)
    assert "representable in float16" in pattern(w.half().float(), w)
    assert "representable in float32" in pattern(w.double().float().double(), w.double() + 1e-9 * w.double().sin())
    assert "the rounding of bfloat16" in pattern(a.bfloat16().float() @ b.bfloat16().float(), w)
    assert "the rounding of float16 or TF32" in pattern(a.half().float() @ b.half().float(), w)


def test_memory_that_was_never_written() -> None:
    w = drawn((64, 64), 0)
    y = torch.empty_like(w)
    y.view(torch.int32).random_(generator=torch.Generator().manual_seed(0))
    assert "memory never written?" in pattern(y, w)
    y = w + other((64, 64), 0)
    y[0, 0] = float("nan")
    assert pattern(y, w).endswith("1 is NaN.")


def test_results_of_the_call_before() -> None:
    before, now = drawn((8, 8), 1), drawn((8, 8), 2)
    assert pattern(before, now, before) == "These are the results of the previous call, on other inputs."
    assert pattern(now * 2, now, before).startswith("All elements are off by the factor 2")


@settings(deadline=None, max_examples=150)
@given(st.lists(st.integers(5, 12), min_size=2, max_size=3).map(tuple), SEEDS, st.sampled_from(["f", "i", "noise"]))
def test_what_has_no_pattern_gets_no_name(shape: tuple[int, ...], seed: int, kind: str) -> None:
    w, y = drawn(shape, seed), other(shape, seed)
    if kind == "i":
        w, y = (1000 * w).long(), (1000 * y).long()
    elif kind == "noise":
        y = w + 0.3 * y
    assert pattern(y, w) == ""


@QUICK
@given(SHAPES, SEEDS)
def test_what_is_right_gets_no_name(shape: tuple[int, ...], seed: int) -> None:
    w = drawn(shape, seed)
    assert pattern(w.clone(), w) == ""
    assert pattern((w.double() * (1 + 1e-7)).float(), w) == ""


@settings(deadline=None, max_examples=100)
@given(SEEDS, st.floats(0.02, 0.9))
def test_scattered_errors_are_not_given_a_form(seed: int, share: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    w = drawn((24, 30), seed)
    wrong = torch.rand(w.shape, generator=generator) < share
    assume(wrong.sum() > 20)
    told = pattern(torch.where(wrong, other((24, 30), seed), w), w)
    assert not told or told.startswith("All wrong elements are at"), told
    for low, high, dim in re.findall(r"indices (\d+) to (\d+).* of dimension (\d)", told):
        places = wrong.nonzero()[:, int(dim)]
        assert int(low) <= int(places.min())
        assert int(places.max()) <= int(high)


@pytest.mark.parametrize(
    "dtype", [torch.bool, torch.uint8, torch.int32, torch.float16, torch.bfloat16, torch.complex64]
)
@pytest.mark.parametrize("shape", [(), (1,), (0, 4), (2, 2), (3, 0), (64, 33)])
def test_every_type_and_shape_is_described(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    w = torch.randint(0, 2, shape, generator=generator).to(dtype)
    y = torch.randint(0, 2, shape, generator=generator).to(dtype)
    for got in (y, torch.zeros_like(w), w):
        told = pattern(got, w)
        assert told.count(". ") <= 1
        assert told == "" or not torch.equal(got, w)


def test_infinity_and_nan_where_they_belong_are_right() -> None:
    w = drawn((10, 10), 0)
    w[3, 3], w[4, 4], w[5, 5] = float("inf"), float("-inf"), float("nan")
    assert pattern(w.clone(), w) == ""
    y = w.clone()
    y[7] = 0
    assert pattern(y, w).endswith("index 7 of dimension 0 (of 10). The wrong elements are zero.")
    y = w.clone()
    y[3, 3] = 1.0
    assert "index 3 of dimension 0" in pattern(y, w)


def test_of_large_tensors_the_first_part_is_described() -> None:
    w = drawn((5, 1 << 20), 0)
    y = w.clone()
    y[:, -1] = 0
    assert pattern(y, w).startswith(
        "In the first 4194304 elements: the wrong elements are exactly those at index 1048575"
    )
    y = w.clone()
    y[4] = 0
    assert pattern(y, w) == "In the first 4194304 elements nothing is far off."


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Threads that wait for each other count as busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
def test_a_look_at_four_million_elements_is_quick() -> None:
    w = drawn((2048, 2048), 0)
    wrong = {"noise": other((2048, 2048), 0), "tail": w.clone(), "transposed": w.T.contiguous()}
    wrong["tail"][:, 2000:] = 0
    for name, y in wrong.items():
        spent = []
        for _ in range(3):
            begin = time.thread_time()
            pattern(y, w)
            spent.append(time.thread_time() - begin)
        # Some 25 ms on an idle machine: the slack is for a busy one.
        assert min(spent) < 0.25, name
