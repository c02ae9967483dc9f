from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from kernelevolve.core.budget import Budget, Spent
from kernelevolve.core.usage import Usage

SPENT = st.builds(
    Spent,
    seconds=st.floats(0, 1e6),
    evaluations=st.integers(0, 10**6),
    best_fitness=st.floats(0, 100),
    since_improvement=st.integers(0, 10**6),
    usage=st.builds(Usage, tokens=st.integers(0, 10**9), cost=st.floats(0, 1e6)),
)


@given(SPENT)
def test_a_budget_without_limits_is_never_reached(spent: Spent) -> None:
    assert Budget().reached(spent) is None
    assert Budget().fraction(spent) == 0.0


@given(SPENT, st.floats(0.1, 1e6), st.integers(1, 10**6), st.integers(1, 10**9), st.floats(0.01, 1e6))
def test_the_fraction_is_one_exactly_when_what_it_counts_is_used_up(
    spent: Spent, seconds: float, evaluations: int, tokens: int, cost: float
) -> None:
    budget = Budget(seconds=seconds, evaluations=evaluations, tokens=tokens, cost=cost)
    assert 0 <= budget.fraction(spent) <= 1
    assert (budget.reached(spent) is not None) == (budget.fraction(spent) == 1)


@pytest.mark.parametrize(
    ("budget", "reason"),
    [
        (Budget(seconds=60), "60 s are over"),
        (Budget(evaluations=50), "50 evaluations are done"),
        (Budget(fitness=2), "a speedup of 2 is reached"),
        (Budget(patience=10), "10 evaluations brought no improvement"),
        (Budget(tokens=1000), "1000 tokens are used"),
        (Budget(cost=0.5), "0.5 dollars are spent"),
        (Budget(seconds=61, evaluations=51, fitness=2.1, patience=11, tokens=1001, cost=0.51), None),
    ],
)
def test_what_ends_a_run(budget: Budget, reason: str | None) -> None:
    usage = Usage(tokens=1000, cost=0.5)
    assert (
        budget.reached(Spent(seconds=60, evaluations=50, best_fitness=2, since_improvement=10, usage=usage)) == reason
    )


def test_patience_waits_for_the_first_correct_kernel() -> None:
    assert Budget(patience=10).reached(Spent(evaluations=100, since_improvement=100)) is None


@pytest.mark.parametrize("name", ["seconds", "evaluations", "fitness", "patience", "tokens", "cost"])
def test_limits_are_positive(name: str) -> None:
    with pytest.raises(ValidationError):
        Budget(**{name: 0})
