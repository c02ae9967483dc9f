"""How fast islands are answered by vLLM: an engine inside Ray, and `vllm serve` beside it.

    python -m scripts.bench.vllm_serving [--prompts 200] [--answer 512] [--gpus 1] [--model FOLDER] [--engine JSON]

A whole run asks each of them, with the prompts that it makes, 64 at a time; the model has random weights (`scripts.tiny_model`) unless one
is given, so that what it writes is no kernel and goes back once. Told for each: requests and tokens a second between the first answer and
the last, the share of the tokens read that the cache of prefixes had, and how busy the GPUs were meanwhile (NVML).
The ratio of the two is of one machine and one run. Ends with 1 where less than half of what is read comes from the cache, or prompts get
lost.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kernelevolve.llm.messages import Completion, Tokens
from kernelevolve.llm.recording import FILE, Recording
from kernelevolve.llm.vllm.arguments import command_line
from scripts import tiny_model
from tests.small_task import SOURCE

_GLANCE_SECONDS = 0.2
_START_SECONDS = 900.0
_ISLANDS, _IN_FLIGHT = 4, 16
_LEAST_CACHED = 0.5
ROOT = Path(__file__).parents[2]


@dataclass
class Glances:
    """At a run while it goes on."""

    times: list[float] = field(default_factory=list)
    expected: list[int] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)

    def during(self) -> tuple[float, float]:
        """(seconds between the first answer and the last, how busy the busiest GPU was then, from 0 to 1; NaN without any)"""
        first = next(i for i, count in enumerate(self.expected) if count)
        last = self.expected.index(self.expected[-1])
        seen = self.busy[first : last + 1]
        return self.times[last] - self.times[first], statistics.fmean(seen) if seen else float("nan")


@dataclass(frozen=True)
class Found:
    """Of one way."""

    prompts: int
    tokens: Tokens
    seconds: float
    busy: float
    ready: float
    """Seconds until the model could answer."""

    @property
    def rate(self) -> float:
        return self.tokens.total / self.seconds

    @property
    def cached(self) -> float:
        return self.tokens.cached / self.tokens.read


def gpus_busy() -> Iterator[float]:
    """The utilization of the busiest GPU, each time it is asked for; nothing where there is no NVML."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # noqa: BLE001 - the package, the library or the device is missing
        return
    handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
    while True:
        yield max(pynvml.nvmlDeviceGetUtilizationRates(one).gpu for one in handles) / 100


def answered(runs: Path) -> int:
    """Exchanges that the run in this folder has on record."""
    for file in runs.glob(f"*/{FILE}"):
        try:
            with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as db:
                return int(db.execute("SELECT count(*) FROM exchanges").fetchone()[0])
        except sqlite3.Error:
            return 0
    return 0


def watched(words: list[str], folder: Path) -> Glances:
    """Carry out a run and look at it meanwhile. Raises RuntimeError where it fails."""
    found, busy = Glances(), gpus_busy()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "kernelevolve", "run", *words], stdout=log, stderr=log, env=environment, cwd=folder
        )
        while process.poll() is None:
            time.sleep(_GLANCE_SECONDS)
            found.times.append(time.monotonic())
            found.expected.append(answered(folder / "runs"))
            found.busy += [one for one in [next(busy, None)] if one is not None]
    if process.returncode:
        raise RuntimeError((folder / "log").read_text()[-3000:])
    return found


def run(options: argparse.Namespace, llm: list[str]) -> Found:
    """One run whose model is reached so."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "task.py").write_text(SOURCE)
        words = [
            "task=task.py",
            "operator=llm",
            *llm,
            f"llm.models=[{options.model}]",
            f"operator.answer_tokens={options.answer}",
            f"budget.evaluations={options.prompts // 2}",
            "budget.seconds=500",
            f"islands.count={_ISLANDS}",
            f"islands.in_flight={_IN_FLIGHT}",
            "islands.grace_seconds=60",
            "final.compile=false",
        ]
        begin = time.monotonic()
        glances = watched(words, folder)
        seconds, busy = glances.during()
        (file,) = (folder / "runs").glob(f"*/{FILE}")
        with closing(Recording(file, write=False)) as recording:
            found: list[Completion] = [recording.exchange(number + 1)[2] for number in range(recording.count())]
        ready = glances.times[next(i for i, count in enumerate(glances.expected) if count)] - begin
    tokens = sum((one.tokens for one in found), Tokens())
    return Found(len(found), tokens, seconds, busy, ready)


@contextmanager
def served(options: argparse.Namespace) -> Iterator[str]:
    """`vllm serve` with the same arguments; yields its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    spread = {"tensor_parallel_size": options.gpus} if options.gpus > 1 else {}
    words = command_line({**spread, **options.engine, "host": "127.0.0.1", "port": port})
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", options.model, *words],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            deadline = time.monotonic() + _START_SECONDS
            while not healthy(f"http://127.0.0.1:{port}/health"):
                if process.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    raise RuntimeError(log.read().decode(errors="replace")[-3000:])
                time.sleep(_GLANCE_SECONDS)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def inside(options: argparse.Namespace) -> Found:
    """The engine in Ray."""
    engine = re.sub(r'"([A-Za-z_]\w*)":', r"\1:", json.dumps(options.engine))
    return run(options, ["llm=vllm", f"llm.backend.gpus={options.gpus}", f"++llm.backend.engine={engine}"])


def beside(options: argparse.Namespace) -> Found:
    """`vllm serve`, and the `openai` backend."""
    begin = time.monotonic()
    with served(options) as url:
        ready = time.monotonic() - begin
        found = run(
            options, ["llm=openai", f"llm.backend.base_url={url}", "llm.backend.key=null", "llm.concurrency=256"]
        )
    return Found(found.prompts, found.tokens, found.seconds, found.busy, ready)


def told(name: str, found: Found) -> str:
    tokens = found.tokens
    return (
        f"{name}: {found.prompts} prompts of {tokens.read / found.prompts:.0f} tokens, answers of {tokens.written / found.prompts:.0f}; "
        f"first answer or ready after {found.ready:.0f} s; then {found.prompts / found.seconds:.1f} requests and {found.rate:.0f} tokens "
        f"a second ({tokens.written / found.seconds:.0f} written), {found.cached:.0%} of what was read from the cache of prefixes, "
        f"the busiest GPU at work {found.busy:.0%} of the time"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--answer", type=int, default=512, help="tokens of an answer")
    parser.add_argument("--gpus", type=int, default=1)
    parser.add_argument("--model", help="a folder or a name; none: one with random weights")
    parser.add_argument("--engine", type=json.loads, default={}, help="further arguments of vllm serve, as JSON")
    options = parser.parse_args()
    defaults: Mapping[str, Any] = {"enable_prefix_caching": True, "enable_prompt_tokens_details": True}
    options.engine = {**defaults, **options.engine}
    with tempfile.TemporaryDirectory() as folder:
        if options.model is None:
            options.model = folder
            tiny_model.make(Path(folder), 1024, 8, 32_768)
        in_ray = inside(options)
        print(told("inside Ray", in_ray), flush=True)
        serving = beside(options)
        print(told("vllm serve", serving), flush=True)
    print(f"tokens a second inside Ray over vllm serve: {in_ray.rate / serving.rate:.2f}")
    few = min(in_ray.prompts, serving.prompts) < options.prompts
    return 1 if few or min(in_ray.cached, serving.cached) < _LEAST_CACHED else 0


if __name__ == "__main__":
    sys.exit(main())
