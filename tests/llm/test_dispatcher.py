"""Requests against a real endpoint that misbehaves: tried again, within limits, paid for once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from kernelevolve.core.budget import Budget
from kernelevolve.core.usage import Usage
from kernelevolve.llm.accounting.accounts import Account
from kernelevolve.llm.accounting.meters import Meter
from kernelevolve.llm.accounting.prices import Price
from kernelevolve.llm.dispatcher import Dispatcher
from kernelevolve.llm.errors import BudgetExceededError, LimitedError, RefusedError, TransientError
from tests.endpoint import Answer, Behaviour, Endpoint, Fault
from tests.llm.conftest import asked, backend, llm_settings

PRICE = Price(read=1.0, written=10.0)


def dispatched(
    endpoint: Endpoint,
    work: Callable[[Dispatcher, Account], Awaitable[None]],
    budget: Budget | None = None,
    **changes: Any,
) -> None:
    async def run() -> None:
        one = backend(endpoint)
        account = Account(budget or Budget(), Usage())
        try:
            await work(Dispatcher(one, llm_settings(endpoint, **changes), PRICE, Meter("tiny")), account)
        finally:
            await one.close()
        assert not account._reserved, "what is over holds nothing"

    asyncio.run(run())


def test_it_is_tried_again_until_there_is_an_answer_which_is_paid_for_once() -> None:
    async def work(dispatcher: Dispatcher, account: Account) -> None:
        exchange = await dispatcher.ask(asked(), account)
        assert (exchange.attempts, exchange.model, exchange.completion.message.text) == (4, "tiny", "hello")
        assert account.spent == Usage(tokens=15, cost=60e-6) == exchange.usage
        tally = dispatcher.meter.tally()
        assert (tally.answers, tally.in_flight, tally.given_up) == (1, 0, 0)
        assert tally.failures == {"TransientError": 2, "LimitedError": 1}

    with Endpoint([Fault(500), Fault(200, body="{"), Fault(429), Answer()]) as endpoint:
        dispatched(endpoint, work)


def test_all_wait_as_long_as_the_endpoint_asks() -> None:
    async def work(dispatcher: Dispatcher, account: Account) -> None:
        begin = time.monotonic()
        first = asyncio.create_task(dispatcher.ask(asked(), account))
        await asyncio.sleep(0.2)
        await dispatcher.ask(asked("another"), account)
        assert time.monotonic() - begin >= 0.7
        await first

    with Endpoint([Fault(429, {"Retry-After": "0.7"}), Answer()]) as endpoint:
        dispatched(endpoint, work)
        assert len(endpoint.requests) == 3


@pytest.mark.parametrize(
    ("fault", "kind", "sent", "changes"),
    [
        (Fault(503), TransientError, 3, {"attempts": 3}),
        (Fault(401), RefusedError, 1, {}),
        (Fault(429, {"Retry-After": "60"}), LimitedError, 1, {"patience": 5.0}),
    ],
)
def test_what_does_not_help_is_given_up(
    fault: Fault, kind: type[Exception], sent: int, changes: Mapping[str, Any]
) -> None:
    async def work(dispatcher: Dispatcher, account: Account) -> None:
        with pytest.raises(kind):
            await dispatcher.ask(asked(), account)
        assert account.spent == Usage()
        assert dispatcher.meter.tally().given_up == 1

    with Endpoint([fault]) as endpoint:
        dispatched(endpoint, work, **changes)
        assert len(endpoint.requests) == sent


def test_nothing_is_sent_that_the_budget_does_not_allow() -> None:
    async def work(dispatcher: Dispatcher, account: Account) -> None:
        await dispatcher.ask(asked(), account)
        with pytest.raises(BudgetExceededError):
            await dispatcher.ask(asked(), account)

    with Endpoint([Answer()]) as endpoint:
        dispatched(endpoint, work, Budget(tokens=120))
        assert len(endpoint.requests) == 1


def test_no_more_are_under_way_than_are_allowed() -> None:
    most = 0

    def behave(*_: Any) -> Behaviour:
        nonlocal most
        most = max(most, endpoint.in_flight + 1)
        return Answer(wait=0.02)

    async def work(dispatcher: Dispatcher, account: Account) -> None:
        await asyncio.gather(*(dispatcher.ask(asked(str(i)), account) for i in range(20)))

    with Endpoint(behave) as endpoint:
        dispatched(endpoint, work, concurrency=3)
    assert most == 3


def test_a_rate_of_requests_is_kept() -> None:
    async def work(dispatcher: Dispatcher, account: Account) -> None:
        begin = time.monotonic()
        await asyncio.gather(*(dispatcher.ask(asked(str(i)), account) for i in range(53)))
        assert time.monotonic() - begin >= 3 / 5 * 0.9, "50 at once, the others five a second"

    with Endpoint([Answer()]) as endpoint:
        dispatched(endpoint, work, requests_per_minute=300.0)


def test_what_is_called_off_ends_everywhere() -> None:
    async def work(dispatcher: Dispatcher, account: Account) -> None:
        task = asyncio.create_task(dispatcher.ask(asked(), account))
        while not endpoint.in_flight:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert dispatcher.meter.tally().in_flight == 0
        while endpoint.in_flight:
            await asyncio.sleep(0.01)

    with Endpoint([Answer(wait=60.0)]) as endpoint:
        dispatched(endpoint, work)
        assert endpoint.called_off == 1


def test_a_hedge_takes_the_first_answer_and_pays_for_both() -> None:
    def behave(_: Mapping[str, Any], number: int) -> Behaviour:
        return Answer("slow", wait=20.0) if number == 0 else Answer("quick")

    async def work(dispatcher: Dispatcher, account: Account) -> None:
        exchange = await dispatcher.ask(asked(), account)
        assert exchange.completion.message.text == "quick"
        assert account.spent.tokens > 15
        while endpoint.in_flight:
            await asyncio.sleep(0.01)

    with Endpoint(behave) as endpoint:
        dispatched(endpoint, work, hedge_after=0.1)
        assert (len(endpoint.requests), endpoint.called_off) == (2, 1)
