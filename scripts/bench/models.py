"""What the model actor and the prompt builder cost.

    python -m scripts.bench.models [--requests 3000] [--concurrent 256] [--misbehaving 2000]

An endpoint in a process of its own speaks the protocol; its answers are scripts. Requests of the size of real prompts go through the
actor in Ray and, in turns with that, straight from this process through the same backend: what the actor adds is the difference of the
medians. Bars: it adds at most 3 ms at 256 requests under way, where an answer takes one to three seconds; it sustains 500 requests a
second where an answer takes no time; of 2,000 requests to an endpoint that fails in every way, none is lost, none is paid for twice,
the budget is kept, and no task is left; a prompt from a history of 10,000 nodes takes at most 20 ms. Ends with 1 where a bar is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import ray

from kernelevolve import config
from kernelevolve.cluster import ray_session
from kernelevolve.core.budget import Budget
from kernelevolve.core.task import Task
from kernelevolve.llm.client import ModelClient
from kernelevolve.llm.errors import BudgetExceededError, ModelError
from kernelevolve.llm.messages import Message, Request, Role, Sampling
from kernelevolve.llm.openai.backend import OpenAIBackend
from kernelevolve.llm.recording import FILE, Recording
from kernelevolve.synthesis.universal.prompt import Material, Move, PromptBuilder
from kernelevolve.synthesis.universal.task_facts import examine
from kernelevolve.synthesis.universal.templates import Templates
from tests.endpoint import Answer, Behaviour, Endpoint, Fault
from tests.keys import KEY
from tests.small_task import SOURCE
from tests.synthesis.universal.conftest import parent

_MAX_ADDED = 0.003
_LEAST_RATE = 500.0
_MAX_PROMPT = 0.020
_VARIABLE = "KERNELEVOLVE_BENCH_KEY"
_HEAD = "The head of a prompt, the same for all. " * 200
_WAIT = (1.0, 3.0)
_PARTS = 3


def instant(body: Mapping[str, Any], _: int) -> Behaviour:
    """Answers at once, or after as long as its number says."""
    number, words, *_ = body["messages"][-1]["content"].split()
    return Answer("an answer\n" * 50, wait=wait_of(int(number)) if words == "slowly" else 0.0)


def wait_of(number: int) -> float:
    """Seconds that the answer to a request takes."""
    return Random(number).uniform(*_WAIT)


def misbehaving(_: Mapping[str, Any], number: int) -> Behaviour:
    """In every way, by the number of the request."""
    rng = Random(number)
    return rng.choice(
        [
            Answer("good", wait=rng.random() * 0.05),
            Answer("good"),
            Answer("good", usage={"prompt_tokens": 9, "completion_tokens": 300}),
            Fault(429, {"Retry-After": "0.05"}),
            Fault(429),
            Fault(500, body="oops"),
            Fault(503),
            Fault(200, body='{"choices": [{"mess'),
            Fault(200, body='{"choices": []}'),
            Fault(200, body='{"choices": 3}'),
            Fault(200, body="x" * 5000, drop_after=100),
        ]
    )


def serve(pipe: Any, behave: Any) -> None:
    """In a process of its own: an endpoint, until something is received; then what it has counted is sent."""
    with Endpoint(behave) as endpoint:
        pipe.send(endpoint.url)
        pipe.recv()
        deadline = time.monotonic() + 5
        while endpoint.in_flight and time.monotonic() < deadline:
            time.sleep(0.01)
        pipe.send((len(endpoint.requests), endpoint.answered, endpoint.in_flight))


@contextmanager
def served(behave: Any) -> Iterator[tuple[str, list[int]]]:
    """(URL, what it has counted: filled in at the end)"""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=serve, args=(theirs, behave))
    process.start()
    counts: list[int] = []
    try:
        yield ours.recv(), counts
    finally:
        ours.send("end")
        counts += ours.recv()
        process.join(10)


@dataclass
class Asking:
    """Requests through the actor, and past it."""

    client: ModelClient
    backend: OpenAIBackend
    number: int = 0

    def request(self, words: str) -> Request:
        self.number += 1
        head = Message(role=Role.SYSTEM, text=_HEAD)
        asked = Message(role=Role.USER, text=f"{self.number} {words} " + "a kernel of some length\n" * 150)
        return Request(messages=(head, asked), sampling=Sampling(max_tokens=1000, seed=self.number))

    async def one(self, words: str, *, actor: bool) -> float:
        """Seconds, but for those that the endpoint takes."""
        request = self.request(words)
        taken = wait_of(self.number) if words == "slowly" else 0.0
        begin = time.perf_counter()
        await (self.client.ask("tiny", request, "bench") if actor else self.backend.generate(request))
        return time.perf_counter() - begin - taken

    async def many(self, words: str, count: int, concurrent: int, *, actor: bool) -> list[float]:
        """So many, so many of them under way at a time."""
        places = asyncio.Semaphore(concurrent)

        async def one() -> float:
            async with places:
                return await self.one(words, actor=actor)

        return await asyncio.gather(*(one() for _ in range(count)))


def client(url: str, folder: Path, budget: Budget, *changes: str) -> ModelClient:
    words = [f"llm.backend.base_url={url}", f"llm.backend.key={_VARIABLE}", "llm.concurrency=1024", *changes]
    settings = config.load(["task=x", "operator=llm", "llm=openai", "llm.models=[tiny]", *words]).llm
    assert settings is not None
    found = ModelClient(settings, folder, budget, ray.get_runtime_context().get_node_id())
    found.check()
    found.open()
    return found


async def costs(asking: Asking, requests: int, concurrent: int) -> tuple[float, float, float]:
    """(median seconds that the actor adds, requests a second through it, past it)"""
    await asking.many("warm-up", 200, 32, actor=True)
    await asking.many("warm-up", 200, 32, actor=False)
    through: list[float] = []
    past: list[float] = []
    for _ in range(_PARTS):
        # The first of each part begin at the same moment, which is no load that lasts.
        through += (await asking.many("slowly", 4 * concurrent, concurrent, actor=True))[concurrent:]
        past += (await asking.many("slowly", 4 * concurrent, concurrent, actor=False))[concurrent:]
    rates = []
    for actor in (True, False):
        begin = time.perf_counter()
        await asking.many("at-once", requests, concurrent, actor=actor)
        rates.append(requests / (time.perf_counter() - begin))
    await asking.backend.close()
    return statistics.median(through) - statistics.median(past), rates[0], rates[1]


def speed(requests: int, concurrent: int) -> list[bool]:
    """Which bars are missed."""
    with served(instant) as (url, _), tempfile.TemporaryDirectory() as folder:
        asking = Asking(client(url, Path(folder), Budget()), OpenAIBackend("tiny", url, _VARIABLE))
        added, rate, peer = asyncio.run(costs(asking, requests, concurrent))
    print(
        f"{concurrent} requests under way, {_WAIT[0]:g} to {_WAIT[1]:g} s an answer: the actor adds {added * 1e3:.2f} ms (median), "
        f"at most {_MAX_ADDED * 1e3:.0f}"
    )
    print(
        f"instant answers: {rate:.0f} requests a second through the actor, at least {_LEAST_RATE:.0f}; "
        f"{peer:.0f} straight, ratio {rate / peer:.2f}"
    )
    return [added > _MAX_ADDED, rate < _LEAST_RATE]


async def besieged(held: ModelClient, count: int) -> tuple[int, int, int]:
    """(answers, requests that failed for good, requests that the budget did not allow)"""

    async def one(number: int) -> str:
        request = Request(
            messages=(Message(role=Role.USER, text=f"{number}"),), sampling=Sampling(max_tokens=300, seed=number)
        )
        try:
            await held.ask("tiny", request, f"bench.{number}")
        except BudgetExceededError:
            return "overspent"
        except ModelError:
            return "failed"
        return "answered"

    found = await asyncio.gather(*(one(i) for i in range(count)))
    return found.count("answered"), found.count("failed"), found.count("overspent")


def siege(count: int) -> list[bool]:
    """Which bars are missed."""
    budget = Budget(tokens=count * 100)
    quick = ("llm.first_wait=0.02", "llm.longest_wait=0.1", "llm.attempts=12")
    with served(misbehaving) as (url, counts), tempfile.TemporaryDirectory() as folder:
        held = client(url, Path(folder), budget, *quick)
        answered, failed, overspent = asyncio.run(besieged(held, count))
        tally = held.tallies()["tiny"]
        recording = Recording(Path(folder, FILE), write=False)
        spent, kept = recording.spent(), recording.count()
    sent, said, left = counts
    print(
        f"{count} requests to an endpoint that misbehaves: {answered} answered, {failed} failed for good, {overspent} beyond the budget; "
        f"{sent} sent, {sum(tally.failures.values())} attempts failed, {left + tally.in_flight} left; "
        f"{spent.tokens} of {budget.tokens} tokens spent, {kept} exchanges on record"
    )
    lost = answered + failed + overspent != count
    twice = kept != answered or tally.expected != answered or said < answered or spent.tokens != tally.tokens.total
    return [lost, twice, budget.tokens is not None and spent.tokens > budget.tokens, bool(left + tally.in_flight)]


def prompts() -> list[bool]:
    """Which bars are missed."""
    task = Task(name="small", source=SOURCE)
    builder = PromptBuilder(Templates(None), task, examine(task), "cpu", {"cores": "2"}, "cpp", "either")
    history = [parent(i, float(i % 3), "# some text of a kernel\n" * 100) for i in range(10_000)]
    seconds = []
    for i in range(30):
        begin = time.perf_counter()
        builder.build(Material(Move.IMPROVE, (history[i],), history), 24_000)
        seconds.append(time.perf_counter() - begin)
    found = statistics.median(seconds)
    print(f"a prompt from 10,000 nodes of history: {found * 1e3:.1f} ms, at most {_MAX_PROMPT * 1e3:.0f}")
    return [found > _MAX_PROMPT]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=3000)
    parser.add_argument("--concurrent", type=int, default=256)
    parser.add_argument("--misbehaving", type=int, default=2000)
    options = parser.parse_args()
    os.environ[_VARIABLE] = KEY
    missed = prompts()
    with ray_session(config.load(["task=x"]).cluster):
        missed += speed(options.requests, options.concurrent)
        missed += siege(options.misbehaving)
    print(f"{sum(missed)} bars missed" if any(missed) else "all bars met")
    return 1 if any(missed) else 0


if __name__ == "__main__":
    sys.exit(main())
