"""One decision after the other: a kernel judged under a load, kept as a line of JSON."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Literal

from omegaconf import OmegaConf

from devices.cpu import CpuDevice
from evaluators.service.pipeline import Pipeline
from evaluators.settings import EvaluationSettings
from kernelevolve.core.record import Record
from scripts.bench.busy.kernels import RANKED, RATIOS, kernel, task
from scripts.bench.busy.loads import LOADS, under

_CONF = Path(__file__).parents[3] / "conf" / "evaluation" / "default.yaml"


class Decision(Record):
    """What was told of a kernel."""

    kind: Literal["final", "search"]
    """The settings that it was measured with."""
    load: str
    threads: str
    repetitions: int
    value: float | None
    """The speedup told, None where it was not measured;"""
    low: float | None
    high: float | None
    not_measured: str
    rank: float
    """what a search would go by;"""
    seconds: float
    """of the whole decision;"""
    rounds: int
    disturbed_rounds: int


def decided(
    file: Path, loads: Sequence[str], threads: Sequence[str], ratios: Sequence[float], times: int
) -> Iterator[Decision]:
    """Decisions on kernels of these ratios that the file does not hold yet, which are added to it, in an order by chance."""
    made = Counter((d.load, d.threads, d.repetitions) for d in read(file) if d.kind == "final")
    for name in threads:
        wanted = [
            (load, RATIOS[ratio])
            for load in loads
            for ratio in ratios
            for _ in range(times - made[load, name, RATIOS[ratio]])
        ]
        # All of a load in a row: what ran before must not be part of what is measured.
        random.Random(len(wanted)).shuffle(wanted)
        wanted.sort(key=lambda each: list(LOADS).index(each[0]))
        yield from _judged(file, "final", name, wanted)


def ranked(file: Path, loads: Sequence[str], threads: Sequence[str]) -> Iterator[Decision]:
    """The same of the kernels that are to be ranked, once each, as a search measures them."""
    made = {(d.load, d.threads, d.repetitions) for d in read(file) if d.kind == "search"}
    for name in threads:
        wanted = [(load, count) for load in loads for count in RANKED if (load, name, count) not in made]
        yield from _judged(file, "search", name, wanted)


def _judged(
    file: Path, kind: Literal["final", "search"], threads: str, wanted: Sequence[tuple[str, int]]
) -> Iterator[Decision]:
    if not wanted:
        return
    settings = EvaluationSettings.model_validate(OmegaConf.to_container(OmegaConf.load(_CONF)))
    timing = settings.final if kind == "final" else settings.timing
    with closing(Pipeline(task(threads), CpuDevice(), settings)) as pipeline, file.open("a") as out:
        pipeline.warm()
        stack, now = ExitStack(), ""
        with stack:
            for number, (load, repetitions) in enumerate(wanted):
                if load != now:
                    stack.close()
                    stack.enter_context(under(LOADS[load]))
                    now = load
                if kind == "final":
                    pipeline.strict.pool.end()  # Where the memory of a process lies is part of what is measured.
                begin = time.monotonic()
                verdict = pipeline.evaluate(kernel(threads, repetitions, number), timing=timing)
                seconds = time.monotonic() - begin
                if verdict.measurement is None:
                    raise SystemExit(f"a kernel was refused: {verdict.diagnosis}")
                measured, told = verdict.measurement, verdict.speedup
                decision = Decision(
                    kind=kind,
                    load=load,
                    threads=threads,
                    repetitions=repetitions,
                    value=told.value if told else None,
                    low=told.low if told else None,
                    high=told.high if told else None,
                    not_measured=measured.not_measured,
                    rank=measured.fitness,
                    seconds=seconds,
                    rounds=measured.rounds,
                    disturbed_rounds=measured.disturbed_rounds,
                )
                out.write(f"{decision.model_dump_json()}\n")
                out.flush()
                yield decision


def read(file: Path) -> list[Decision]:
    """What a file holds; nothing where there is none."""
    if not file.exists():
        return []
    return [Decision.model_validate_json(line) for line in file.read_text().splitlines()]
