"""Which sizes hidden shapes have."""

from __future__ import annotations

import math

from evaluators.correctness.inputs.groups import Place, SizeGroup
from evaluators.correctness.inputs.sizes import Sizes, hidden_sizes


def group(size: int, place: int, low: int = 1, high: int | None = None) -> SizeGroup:
    limit = int(2.25 * size) + 4 if high is None else high
    return SizeGroup((Place(0, place),), size, low, limit, free=True, why="", seen=frozenset({size}))


def found(groups: list[SizeGroup], room: float) -> list[list[int]]:
    """Sizes of all dimensions of one input with a dimension for each group; `room`: as many times the main elements."""

    def elements(sizes: Sizes) -> int:
        return math.prod(sizes.get(g, each.size) for g, each in enumerate(groups))

    most = int(room * elements({}))
    chosen = hidden_sizes(groups, 4, 0, elements, most, lambda sizes: elements(sizes) <= most)
    return [[sizes.get(g, each.size) for g, each in enumerate(groups)] for sizes in chosen]


def test_each_dimension_is_1_and_odd_and_more_than_twice_the_main_size() -> None:
    shapes = found([group(96, 0), group(256, 1)], 1.5)
    assert len(shapes) == 4
    for d, size in enumerate((96, 256)):
        sizes = [shape[d] for shape in shapes]
        assert 1 in sizes
        assert any(n > 2 * size for n in sizes), "the other one is smaller meanwhile"
        assert any(1 < n < size and n % 2 for n in sizes)
        assert size not in sizes
    assert all(a * b <= 1.5 * 96 * 256 for a, b in shapes)


def test_a_dimension_that_is_alone_grows_as_far_as_memory_goes() -> None:
    assert max(n for (n,) in found([group(1000, 0)], 4.0)) > 2000
    assert 1250 < max(n for (n,) in found([group(1000, 0)], 1.5)) <= 1500


def test_limits_are_kept() -> None:
    for shape in found([group(96, 0, low=5), group(64, 1, high=80)], 8.0):
        assert shape[0] >= 5
        assert shape[1] <= 80
