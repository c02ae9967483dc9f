"""What inputs evidently hold is found, and kept by every distribution."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from evaluators.correctness.inputs.facts import Facts, look, merge, repair
from evaluators.correctness.inputs.relations import Ordered, find_relations, held_in_all
from evaluators.correctness.inputs.values.choosing import applicable, changeable_constants, fixed_values, further
from evaluators.correctness.inputs.values.distributions import (
    BELOW,
    BEYOND,
    DISTRIBUTIONS,
    EMPTY_MASKS,
    ENDS,
    MANY_NONFINITE,
    NONFINITE,
    ZERO_ROWS,
)
from evaluators.correctness.inputs.values.making import other_constants, redistribute

Draw = Callable[[], torch.Tensor]


def facts_of(draw: Draw, draws: int = 3) -> Facts:
    torch.manual_seed(0)
    tensors = [draw() for _ in range(draws)]
    constant = all(torch.equal(tensors[0], x) for x in tensors[1:])
    return merge([look(x) for x in tensors], [], constant=constant)


def distributed(draw: Draw) -> dict[str, torch.Tensor]:
    """The input under every distribution that applies."""
    facts = {0: facts_of(draw)}
    torch.manual_seed(1)
    inputs = [draw()]
    fixed = fixed_values(inputs, facts, frozenset())
    generator = torch.Generator().manual_seed(0)
    found = applicable(inputs, facts, fixed, len(DISTRIBUTIONS))
    return {name: redistribute(inputs, d, facts, fixed, [None], generator)[0] for name, d in found}


def normal() -> torch.Tensor:
    return torch.randn(40, 30)


def _sorted_with_ties() -> torch.Tensor:
    return (torch.rand(40, 30) * 8).floor().div(10).sort(dim=1).values


def test_distributions_are_what_their_names_say() -> None:
    made = distributed(normal)
    assert list(made) == [d.floats for d in DISTRIBUTIONS]
    assert float(made["large"].abs().max()) > 1000
    assert 0 < float(made["tiny"].abs().max()) < 1e-5
    steps = made["ties"] % 0.5 == 0
    assert 0.3 < float(steps.float().mean()) < 0.7
    assert len(made["ties"][~steps].unique()) <= 3
    assert bool((made["ties"] != 0).all())
    assert bool((made["sorted"].diff(dim=1) >= 0).all())
    assert bool((made["constant rows"] == made["constant rows"][:, :1]).all())
    zeros = made["negative zeros"] == 0
    assert 0.1 < float(zeros.float().mean()) < 0.4
    assert bool(torch.signbit(made["negative zeros"][zeros]).all())
    assert not bool(made["zeros in one input"].any())
    assert int((made["one outlier"].abs() > 100).sum()) == 1


@pytest.mark.parametrize(
    ("draw", "holds"),
    [
        (lambda: torch.rand(40, 30), lambda x: bool(((x >= 0) & (x <= 1)).all())),
        (lambda: torch.rand(40, 30) * 2 - 1, lambda x: bool((x.abs() <= 1).all())),
        (lambda: torch.randn(40, 30).exp(), lambda x: bool((x > 0).all())),
        (lambda: -torch.rand(40, 30) - 1, lambda x: bool((x <= -1).all())),
        (
            lambda: torch.randint(0, 50, (40, 30)).float(),
            lambda x: bool((x == x.round()).all()) and float(x.max()) < 50,
        ),
        (lambda: torch.bernoulli(torch.full((40, 30), 0.3)), lambda x: bool(((x == 0) | (x == 1)).all())),
        (
            _sorted_with_ties,
            lambda x: bool((x.diff(dim=1) >= 0).all()),
        ),
        (lambda: torch.randn(40, 30).softmax(1), lambda x: bool(((x.sum(1) - 1).abs() < 1e-3).all())),
        (lambda: torch.where(torch.rand(40, 30) < 0.5, 0.0, -1e9), lambda x: bool(((x == 0) | (x == -1e9)).all())),
        (lambda: torch.randint(3, 9, (40, 30)), lambda x: int(x.min()) >= 3 and int(x.max()) < 9),
        (lambda: torch.randint(0, 9, (40, 30)).sort().values, lambda x: bool((x.diff(dim=1) >= 0).all())),
        (lambda: torch.arange(30) < torch.randint(1, 31, (40, 1)), lambda x: bool((x[:, 1:] <= x[:, :-1]).all())),
        (lambda: torch.arange(30) < torch.randint(1, 31, (40, 1)), lambda x: bool(x[:, 0].all())),
        (lambda: torch.eye(30, dtype=torch.bool)[torch.randperm(30)], lambda x: bool((x.sum(1) == 1).all())),
    ],
)
def test_restrictions_are_kept(draw: Draw, holds: Callable[[torch.Tensor], bool]) -> None:
    torch.manual_seed(2)
    assert holds(draw())
    made = distributed(draw)
    assert made
    assert all(holds(x) for x in made.values())


@pytest.mark.parametrize(
    "draw",
    [
        lambda: torch.arange(40),
        lambda: torch.ones(30, 30).tril(),
        lambda: torch.randperm(40),
        lambda: torch.rand(30).cumsum(0),
        lambda: torch.where(torch.rand(40, 30) < 0.5, 0.0, float("-inf")),
    ],
)
def test_structure_stays_as_drawn(draw: Draw) -> None:
    assert facts_of(draw).why_fixed
    assert not distributed(draw)


@pytest.mark.parametrize(
    ("draw", "holds"),
    [
        (lambda: torch.randn(30, 30).tril(), lambda x: not bool(x.triu(1).any())),
        (lambda: torch.randn(4, 30, 30).triu(1), lambda x: not bool(x.tril().any())),
        (lambda: torch.cov(torch.randn(30, 30)), lambda x: torch.equal(x, x.mT)),
    ],
)
def test_matrices_keep_their_structure(draw: Draw, holds: Callable[[torch.Tensor], bool]) -> None:
    made = distributed(draw)
    assert len(made) >= 5
    assert all(holds(x) for x in made.values())


def test_ends_of_an_integer_range_are_those_that_the_task_declares() -> None:
    draw: Draw = lambda: torch.randint(10, 20, (50,))  # noqa: E731
    facts = {0: facts_of(draw)}
    drawn = [draw()]
    for distribution, declared, expected in [
        (DISTRIBUTIONS[0], (0, 100), 99),
        (DISTRIBUTIONS[1], (0, 100), 0),
        (DISTRIBUTIONS[0], None, int(drawn[0].max())),
        (DISTRIBUTIONS[1], None, int(drawn[0].min())),
    ]:
        made = redistribute(drawn, distribution, facts, {}, [declared], torch.Generator())
        assert bool((made[0] == expected).all())


def test_nan_and_infinities_come_only_where_nothing_is_declared_or_ordered() -> None:
    draws: list[Draw] = [normal, lambda: torch.rand(40, 30), lambda: torch.rand(40, 30).sort().values, normal]
    facts = {i: facts_of(draw) for i, draw in enumerate(draws)}
    inputs = [draw() for draw in draws]
    ranges = [None, None, None, (-9.0, 9.0)]
    few = redistribute(inputs, NONFINITE, facts, {}, ranges, torch.Generator())
    many = redistribute(inputs, MANY_NONFINITE, facts, {}, ranges, torch.Generator())
    assert [int(few[i].isnan().sum()) for i in (0, 1)] == [1, 3]
    assert [int(few[i].isinf().sum()) for i in (0, 1)] == [2, 0]
    for i in (0, 1):
        assert 100 < int((~many[i].isfinite()).sum()) < 200
    for made in (few, many):
        assert made[2] is inputs[2]
        assert made[3] is inputs[3]


def test_what_is_drawn_but_not_declared_is_left() -> None:
    facts = {i: facts_of(lambda: torch.rand(40, 30)) for i in range(2)}
    inputs = [torch.rand(40, 30), torch.rand(40, 30)]
    ranges = [None, (0.0, 1.0)]
    assert further(inputs, facts, {}, ranges) == [ENDS, BEYOND, BELOW, ZERO_ROWS]
    ends, kept_range = redistribute(inputs, ENDS, facts, {}, ranges, torch.Generator())
    assert 60 < int((ends == 0).sum()) < 300
    assert 60 < int((ends == 1).sum()) < 300
    assert kept_range is inputs[1]
    rows, _ = redistribute(inputs, ZERO_ROWS, facts, {}, ranges, torch.Generator())
    assert rows.any(dim=1).tolist() == [False, True] * 20
    assert further(inputs[1:], {0: facts[1]}, {}, ranges[1:]) == []
    beyond, kept_range = redistribute(inputs, BEYOND, facts, {}, ranges, torch.Generator())
    assert float(beyond.min()) < -1
    assert float(beyond.max()) > 2
    assert kept_range is inputs[1]
    below, kept_range = redistribute(inputs, BELOW, facts, {}, ranges, torch.Generator())
    assert bool((below <= 0).all())
    assert kept_range is inputs[1]


def test_rows_of_masks_are_empty_though_none_is_drawn_so() -> None:
    draw: Draw = lambda: torch.rand(40, 30) < 0.9  # noqa: E731
    facts = {0: facts_of(draw)}
    assert further([draw()], facts, {}, [None]) == [EMPTY_MASKS]
    (made,) = redistribute([draw()], EMPTY_MASKS, facts, {}, [None], torch.Generator())
    assert made.any(dim=1).tolist() == [False, True] * 20


@pytest.mark.parametrize(
    ("constant", "changes"),
    [
        (torch.ones(30), True),
        (torch.zeros(30), True),
        (torch.tensor(0.5), True),
        (torch.linspace(0.1, 0.7, 30), True),
        (torch.arange(30.0), False),
        (torch.ones(30, dtype=torch.int64), False),
        (torch.full((5, 5), float("-inf")).triu(1), False),
    ],
)
def test_floating_constants_become_others(constant: torch.Tensor, changes: bool) -> None:
    facts = {0: facts_of(lambda: constant)}
    assert changeable_constants([constant], facts, {}, [None]) == ({0} if changes else set())
    if not changes:
        return
    made = other_constants(constant, facts[0], torch.Generator().manual_seed(0))
    assert made.dtype is constant.dtype
    assert bool((made != constant).all())
    assert bool(((made - constant).abs() <= constant.abs().clamp(min=1) / 4).all())


def test_pairs_in_order_stay_as_drawn() -> None:
    def boxes() -> list[torch.Tensor]:
        low = torch.randn(50)
        return [low, low + torch.rand(50)]

    relations = held_in_all([find_relations(boxes()) for _ in range(3)])
    assert Ordered(0, 1) in relations
    facts = {i: facts_of(lambda i=i: boxes()[i]) for i in range(2)}
    assert set(fixed_values(boxes(), facts, relations)) == {0, 1}


def test_repair_leaves_alone_what_holds_already() -> None:
    facts = facts_of(lambda: torch.randn(40, 30).softmax(1))
    x = torch.randn(4, 5)
    assert repair(x, facts_of(normal)) is x
    assert bool((repair(x.abs(), facts).sum(1) - 1).abs().max() < 1e-5)
