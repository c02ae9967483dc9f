"""Rates, prices, accounts: what keeps requests within what is allowed."""

from __future__ import annotations

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernelevolve import config
from kernelevolve.core.budget import Budget
from kernelevolve.core.usage import Usage
from kernelevolve.llm.accounting.accounts import Account
from kernelevolve.llm.accounting.prices import Price, price_of
from kernelevolve.llm.accounting.rates import Bucket, Rates
from kernelevolve.llm.errors import BudgetExceededError
from kernelevolve.llm.lengths import tokens_of
from kernelevolve.llm.messages import Tokens


@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0.1, 50)), min_size=1, max_size=60), st.floats(10, 6000))
def test_no_stretch_of_time_gets_more_than_its_rate_and_one_burst(
    wanted: list[tuple[float, float]], per_minute: float
) -> None:
    bucket, now, granted = Bucket(per_minute, 0.0), 0.0, []
    for pause, amount in wanted:
        now += pause
        granted.append((now + bucket.take(amount, now), amount))
    times = [at for at, _ in granted]
    assert times == sorted(times), "who comes first goes first"
    burst = max(1.0, per_minute / 6)
    for i, (begin, _) in enumerate(granted):
        for j in range(i, len(granted)):
            taken = sum(amount for _, amount in granted[i : j + 1])
            assert taken <= burst + granted[i][1] + (times[j] - begin) * per_minute / 60 + 1e-6


def test_what_was_taken_and_not_used_is_given_back() -> None:
    async def run() -> None:
        rates = Rates(None, 600)
        await rates.wait(100)
        waiting = asyncio.create_task(rates.wait(1000))
        await asyncio.sleep(0.02)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        rates.correct(100, 0)
        begin = time.monotonic()
        await rates.wait(100)
        assert time.monotonic() - begin < 0.5
        rates.hold(0.2)
        await rates.wait(0)
        assert time.monotonic() - begin >= 0.2

    asyncio.run(run())


def test_the_longest_pattern_that_fits_gives_the_price() -> None:
    small, large = Price(read=1, written=2, cached=0.1), Price(read=10, written=20)
    prices = {"m*": large, "m-small*": small, "other": small}
    assert price_of("m-small-3", prices) is small
    assert price_of("m-7", prices) is large
    assert price_of("unknown", prices) is None
    tokens = Tokens(read=1_000_000, cached=400_000, written=500_000)
    assert small.cost(tokens) == pytest.approx(0.6 + 0.04 + 1.0)
    assert large.cost(tokens) == pytest.approx(10 + 10)


@given(
    st.lists(st.tuples(st.integers(1, 400), st.integers(0, 400), st.integers(0, 5)), min_size=1, max_size=40),
    st.integers(1, 1000),
)
def test_a_budget_is_never_overrun(wanted: list[tuple[int, int, int]], tokens: int) -> None:
    """`wanted`: most that a request may take, what it takes of that, turns of the loop that it needs."""
    account = Account(Budget(tokens=tokens), Usage())
    refused = 0

    async def one(most: int, used: int, turns: int) -> None:
        nonlocal refused
        reserved = Usage(tokens=most)
        try:
            await account.reserve(reserved)
        except BudgetExceededError:
            refused += 1
            assert account.spent.tokens + most > tokens
            return
        for _ in range(turns):
            await asyncio.sleep(0)
        account.settle(reserved, Usage(tokens=min(used, most)))
        assert account.spent.tokens <= tokens

    async def run() -> None:
        await asyncio.wait_for(asyncio.gather(*(one(*w) for w in wanted)), 10)

    asyncio.run(run())
    served = len(wanted) - refused
    assert served or wanted[0][0] > tokens


def test_dollars_count_too_and_what_was_spent_before() -> None:
    async def run() -> None:
        account = Account(Budget(cost=1.0), Usage(cost=0.8))
        with pytest.raises(BudgetExceededError, match=r"0\.8000 are spent"):
            await account.reserve(Usage(tokens=5, cost=0.3))
        await account.reserve(Usage(cost=0.2))

    asyncio.run(run())


def test_lengths_are_on_the_safe_side_for_code() -> None:
    code = "    for (int64_t i = 0; i < n; ++i) y[i] = x[i] * 2.0f;\n" * 10
    assert len(code) / 4 < tokens_of(code) <= len(code)
    assert tokens_of("") == 0
    assert tokens_of("ü") == 1


def test_listed_prices_are_of_models_that_are_named_and_of_no_others() -> None:
    settings = config.load(["task=x", "operator=llm", "llm=openai", "llm.models=[m]"]).llm
    assert settings is not None
    assert settings.prices
    for price in settings.prices.values():
        assert price.written > price.read > (price.cached or 0.0) > 0.0
    assert price_of("gpt-5.5", settings.prices) == settings.prices["gpt-5.5"]
    assert price_of("gpt-5.5-pro", settings.prices) is None
    assert price_of("m", settings.prices) is None


def test_own_prices_count_before_listed_ones() -> None:
    own = ["+llm.prices={gpt-5.5: {read: 1.0, written: 2.0}, mine*: {read: 3.0, written: 4.0}}"]
    settings = config.load(["task=x", "operator=llm", "llm=openai", "llm.models=[m]", *own]).llm
    assert settings is not None
    found = [price_of(name, settings.prices) for name in ("gpt-5.5", "mine-7", "gpt-5")]
    assert [price.read for price in found if price] == [1.0, 3.0, 1.25]
