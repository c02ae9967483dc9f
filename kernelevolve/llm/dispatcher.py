"""Sending requests to one model within its rate limits and the run's budget, with retries."""

from __future__ import annotations

import asyncio
import time
from random import Random

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt

from kernelevolve.core.seeds import derive_seed
from kernelevolve.core.usage import Usage
from kernelevolve.llm.accounting.accounts import Account
from kernelevolve.llm.accounting.meters import Meter
from kernelevolve.llm.accounting.prices import Price
from kernelevolve.llm.accounting.rates import Rates
from kernelevolve.llm.base import ModelBackend
from kernelevolve.llm.errors import LimitedError, TransientError
from kernelevolve.llm.exchange import Exchange
from kernelevolve.llm.lengths import tokens_of_request
from kernelevolve.llm.messages import Completion, Request, Tokens
from kernelevolve.llm.settings import LlmSettings

_LATER = 0.1
"""The maximum random addition to a `retry_after`, as a share of it, so that not all callers return at once."""


class Dispatcher:
    """The dispatcher of one model, for use in one event loop."""

    def __init__(self, backend: ModelBackend, settings: LlmSettings, price: Price | None, meter: Meter) -> None:
        self._backend = backend
        self._settings = settings
        self._price = price
        self.meter = meter
        self._rates = Rates(settings.requests_per_minute, settings.tokens_per_minute)
        self._places = asyncio.Semaphore(settings.concurrency)
        self._random = Random(derive_seed(0, "backoff", backend.model))
        self._written = 0.0
        """A moving average of the tokens of an answer."""

    async def ask(self, request: Request, account: Account) -> Exchange:
        """Send a request, and pay for it from the account. Cancelling the call ends the request.

        Raises:
            BudgetExceededError: The budget does not allow the request. Nothing was sent.
            ModelError: The error of the last attempt.
        """
        begin = time.monotonic()
        copies = 2 if self._settings.hedge_after else 1
        reads = tokens_of_request(request)
        most = self._usage(Tokens(read=copies * reads, written=copies * request.sampling.max_tokens))
        await account.reserve(most)
        used = Usage()
        exchange: Exchange | None = None
        self.meter.begun()
        try:
            completion, copies, attempts = await self._retried(request, reads, begin)
            lost = Tokens(read=(copies - 1) * reads, estimated=copies > 1)
            used = self._usage(completion.tokens + lost)
            exchange = Exchange(
                model=self._backend.model,
                completion=completion,
                cost=used.cost,
                attempts=attempts,
                seconds=time.monotonic() - begin,
            )
            return exchange
        finally:
            account.settle(most, used)
            self.meter.ended(exchange)

    def _usage(self, tokens: Tokens) -> Usage:
        return Usage(tokens=tokens.total, cost=self._price.cost(tokens) if self._price else 0.0)

    async def _retried(self, request: Request, reads: int, begin: float) -> tuple[Completion, int, int]:
        """Return the completion, the number of copies that were sent for it, and the number of attempts."""
        until = begin + self._settings.patience
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(TransientError),
            wait=self._pause,
            stop=lambda state: (
                stop_after_attempt(self._settings.attempts)(state) or time.monotonic() + state.upcoming_sleep > until
            ),
            reraise=True,
        )
        async for attempt in retrying:
            with attempt:
                completion, copies = await self._attempt(request, reads)
        return completion, copies, attempt.retry_state.attempt_number

    def _pause(self, state: RetryCallState) -> float:
        """Return the seconds until the next attempt.

        They are what the endpoint asks for, else a random share of an exponentially growing bound ("full jitter").
        """
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, TransientError) and error.retry_after is not None:
            return error.retry_after * (1 + _LATER * self._random.random())
        bound = min(self._settings.longest_wait, self._settings.first_wait * 2.0 ** (state.attempt_number - 1))
        return bound * self._random.random()

    async def _attempt(self, request: Request, reads: int) -> tuple[Completion, int]:
        expected = reads + round(self._written)
        await self._rates.wait(expected)
        async with self._places:
            try:
                completion, copies = await self._sent(request)
            except Exception as error:
                self.meter.failed(error)
                if isinstance(error, LimitedError) and error.retry_after is not None:
                    self._rates.hold(error.retry_after)
                raise
        self._rates.correct(expected, completion.tokens.total)
        self._written += 0.1 * (completion.tokens.written - self._written)
        return completion, copies

    async def _sent(self, request: Request) -> tuple[Completion, int]:
        """Send a request, and a second copy if the first answer takes too long.

        Return the first success; fail only if both do.
        """
        if self._settings.hedge_after is None:
            return await self._backend.generate(request), 1
        sent = [asyncio.create_task(self._backend.generate(request))]
        try:
            done, _ = await asyncio.wait(sent, timeout=self._settings.hedge_after)
            if not done:
                sent.append(asyncio.create_task(self._backend.generate(request)))
            waiting = set(sent)
            while True:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                good = [task for task in done if task.exception() is None]
                if good or not waiting:
                    return (good or list(done))[0].result(), len(sent)
        finally:
            for task in sent:
                task.cancel()
            await asyncio.gather(*sent, return_exceptions=True)
