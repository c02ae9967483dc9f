"""Offsets, lengths and ids stay legal whatever the sizes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluators.correctness.inputs.dimensions import find_dimensions, observe
from evaluators.correctness.inputs.exporting import Evidence
from evaluators.correctness.inputs.facts import Facts, look, merge
from evaluators.correctness.inputs.groups import Dimensions
from evaluators.correctness.inputs.model_numbers import ModelNumbers
from evaluators.correctness.inputs.relations import (
    Bound,
    Form,
    Jagged,
    Members,
    Permutation,
    expand_rows,
    find_relations,
    from_lengths,
    held_in_all,
    row_lengths,
)
from evaluators.correctness.inputs.shapes import fit, nearest_members, positions, reshape_inputs

LENGTHS = st.lists(st.integers(0, 9), min_size=1, max_size=30)


@settings(deadline=None)
@given(lengths=LENGTHS, form=st.sampled_from(Form), dtype=st.sampled_from([torch.int32, torch.int64]))
def test_lengths_survive_every_form(lengths: list[int], form: Form, dtype: torch.dtype) -> None:
    given_ = torch.tensor(lengths)
    told = from_lengths(given_, form, dtype)
    assert told.dtype == dtype
    assert torch.equal(row_lengths(told, form, sum(lengths)), given_)


@settings(deadline=None)
@given(lengths=LENGTHS, data=st.data())
def test_rows_take_their_values_along(lengths: list[int], data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.integers(0, len(lengths) - 1), max_size=40))
    values = [[(row, k) for k in range(length)] for row, length in enumerate(lengths)]
    flat = [value for row in values for value in row]
    taken = expand_rows(torch.tensor(lengths), torch.tensor(rows, dtype=torch.int64))
    assert [flat[int(i)] for i in taken] == [value for row in rows for value in values[row]]


@settings(deadline=None)
@given(old=st.integers(1, 60), new=st.integers(1, 90), seed=st.integers(0, 99))
def test_positions_ascend_within_the_old_size(old: int, new: int, seed: int) -> None:
    taken = positions(old, new, torch.Generator().manual_seed(seed))
    assert len(taken) == new
    assert bool((taken.diff() >= 0).all())
    assert 0 <= int(taken.min()) <= int(taken.max()) < old
    assert new < old or len(taken.unique()) == old


@settings(deadline=None)
@given(values=st.lists(st.integers(-2, 200), min_size=1, max_size=40), limit=st.integers(0, 250))
def test_ids_are_fitted_in_order(values: list[int], limit: int) -> None:
    x = torch.tensor(values)
    fitted = fit(x, limit, distinct=False)
    assert int(fitted.max()) <= limit
    assert torch.equal(fitted[x < 0], x[x < 0])
    order = x.argsort()
    assert bool((fitted[order].diff() >= 0).all())


@settings(deadline=None)
@given(values=st.sets(st.integers(0, 200), min_size=1, max_size=40), room=st.integers(0, 30), seed=st.integers(0, 9))
def test_distinct_ids_stay_distinct_where_there_is_room(values: set[int], room: int, seed: int) -> None:
    x = torch.tensor(sorted(values))[torch.randperm(len(values), generator=torch.Generator().manual_seed(seed))]
    limit = len(values) - 1 + room
    fitted = fit(x, limit, distinct=True)
    assert len(fitted.unique()) == len(values)
    assert 0 <= int(fitted.min()) <= int(fitted.max()) <= limit
    assert torch.equal(fitted.argsort(), x.argsort())


@settings(deadline=None)
@given(table=st.sets(st.integers(0, 99), min_size=1), values=st.lists(st.integers(0, 120), min_size=1))
def test_members_come_from_the_table(table: set[int], values: list[int]) -> None:
    made = nearest_members(torch.tensor(values), torch.tensor(list(table)))
    assert set(made.tolist()) <= table
    assert all(v == m for v, m in zip(values, made.tolist(), strict=True) if v in table)


def _draw(form: Form, seed: int, rows: int, longest: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(0, longest + 1, (rows,), generator=generator)
    lengths[0] = longest
    values = torch.rand(int(lengths.sum()), 3, generator=generator)
    weights = torch.rand(rows, generator=generator)
    return [from_lengths(lengths, form, torch.int64), values, weights]


def _analysed(form: Form, seed: int) -> tuple[list[torch.Tensor], Dimensions, dict[int, Facts]]:
    main = [_draw(form, seed + k, 20, 6) for k in range(3)]
    variant = _draw(form, seed + 3, 11, 9)
    draws = [observe(inputs) for inputs in main]
    facts = {
        i: merge([look(inputs[i]) for inputs in main], [look(variant[i])], constant=False) for i in range(len(variant))
    }
    evidence = Evidence(failure="not tried")
    return main[0], find_dimensions(draws, [observe(variant)], facts, evidence, ModelNumbers()), facts


@settings(deadline=None, max_examples=40)
@given(form=st.sampled_from(Form), seed=st.integers(0, 500), rows=st.integers(1, 40))
def test_jagged_rows_are_rebuilt_with_their_values(form: Form, seed: int, rows: int) -> None:
    inputs, dimensions, facts = _analysed(form, seed)
    group = dimensions.group_of(0, 0)
    assert dimensions.groups[group].free, dimensions.groups
    assert dimensions.group_of(2, 0) == group
    source, values, weights = reshape_inputs(inputs, dimensions, {group: rows}, facts, torch.Generator().manual_seed(1))
    assert len(weights) == rows
    new = row_lengths(source, form, len(values))
    assert int(new.sum()) == len(values) > 0
    old = row_lengths(inputs[0], form, len(inputs[1]))
    known = list(zip(torch.split(inputs[1], old.tolist()), inputs[2], strict=True))

    def alike(a: torch.Tensor, b: torch.Tensor) -> bool:
        # Those that are taken again differ a little, so that there are no ties.
        span = float(inputs[1].max() - inputs[1].min()) + float(inputs[2].max() - inputs[2].min())
        return a.shape == b.shape and torch.allclose(a, b, rtol=0, atol=span * 2**-5)

    for row, weight in zip(torch.split(values, new.tolist()), weights, strict=True):
        assert any(alike(row, known_row) and alike(weight, known_weight) for known_row, known_weight in known)


def test_relations_are_read_from_draws() -> None:
    ids = torch.tensor([7, 2, 9, 2])
    found = find_relations([ids, torch.tensor([9, 2, 7, 30]), torch.zeros(10, 3), torch.tensor([2, 0, 1])])
    assert {Bound(0, 2, 0, strict=True), Members(0, 1), Permutation(3)} <= found
    assert not any(isinstance(r, Bound) and r.what == 1 for r in found)


def test_offsets_that_end_with_the_values_count_as_such_only_if_they_always_do() -> None:
    ends = [torch.tensor([0, 2, 5]), torch.zeros(5)]
    falls_short = [torch.tensor([0, 2, 5]), torch.zeros(6)]
    assert Jagged(0, Form.OFFSETS, 1, 0) in held_in_all([find_relations(ends)])
    assert Jagged(0, Form.STARTS, 1, 0) not in held_in_all([find_relations(ends)])
    both = held_in_all([find_relations(ends), find_relations(falls_short)])
    assert [r for r in both if isinstance(r, Jagged)] == [Jagged(0, Form.STARTS, 1, 0)]


@pytest.mark.parametrize(("variant", "tied"), [((30, 30), True), ((30, 31), False)])
def test_equal_sizes_are_tied_until_a_variant_shows_otherwise(variant: tuple[int, int], tied: bool) -> None:
    def inputs(a: int, b: int) -> list[torch.Tensor]:
        return [torch.randn(a, 5), torch.randn(b, 7)]

    facts = {i: merge([look(x)], [], constant=False) for i, x in enumerate(inputs(20, 20))}
    dimensions = find_dimensions(
        [observe(inputs(20, 20))], [observe(inputs(*variant))], facts, Evidence(failure="not tried"), ModelNumbers()
    )
    assert (dimensions.group_of(0, 0) == dimensions.group_of(1, 0)) == tied
    assert dimensions.groups[dimensions.group_of(0, 0)].free
    assert not dimensions.groups[dimensions.group_of(0, 1)].free


def test_a_multiple_of_another_size_stays_one() -> None:
    def inputs(rows: int) -> list[torch.Tensor]:
        return [torch.randn(rows), torch.randn(3 * rows)]

    facts = {i: merge([look(x)], [], constant=False) for i, x in enumerate(inputs(20))}
    dimensions = find_dimensions(
        [observe(inputs(20))], [observe(inputs(32))], facts, Evidence(failure="not tried"), ModelNumbers()
    )
    group = dimensions.group_of(0, 0)
    made = reshape_inputs(inputs(20), dimensions, {group: 23}, facts, torch.Generator())
    assert [len(x) for x in made] == [23, 69]
