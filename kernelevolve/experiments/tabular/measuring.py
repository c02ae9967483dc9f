"""From a space to a table: every kernel judged once, as a search judges it. What was judged is kept, so that it can be interrupted."""

from __future__ import annotations

import json
import math
import os
import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, replace
from heapq import nlargest
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np

from devices.base import Device
from evaluators.service.pipeline import Pipeline
from evaluators.settings import EvaluationSettings
from evaluators.verdict import FailedError
from kernelevolve.core.errors import UserError
from kernelevolve.core.evaluation import Evaluation, Status
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.record import content_id
from kernelevolve.core.seeds import derive_seed
from kernelevolve.core.task import Task
from kernelevolve.experiments.tabular.space import Kernels, Part, place_of
from kernelevolve.experiments.tabular.table import Table, code_of

_AHEAD = 3
"""Kernels that are compiled before they are judged."""
_CONFIRMED = 20
"""Of the fittest whose speedups are not those that made them so."""
_Z = 1.959964
"""Half-width of a 95% interval in standard deviations."""


@dataclass(frozen=True)
class Row:
    """What judging one kernel found."""

    status: Status
    speedup: float
    deviation: float
    """Of the logarithm of one measurement as a search makes it."""
    seconds: float
    confirmed: bool = False
    """Whether the speedup was measured as that of finalists is, apart from the measurement that made it one of the fittest."""


class Journal:
    """Rows on disk, a line each, for one task under certain settings. A context manager."""

    def __init__(self, path: Path, task: Task, settings: EvaluationSettings) -> None:
        """Raises UserError where the file belongs to something else."""
        self._path = path
        self.rows: dict[str, Row] = {}
        head = {"journal": content_id(task.id, settings.model_dump_json())}
        if path.exists():
            lines = path.read_text(encoding="utf-8").splitlines()
            if not lines or lines[0] != json.dumps(head):
                raise UserError(f"{path} holds measurements of something else: remove it, or choose another --out")
            for line in lines[1:]:
                with suppress(ValueError):  # The last one, where writing it was interrupted.
                    kernel_id, status, *numbers = json.loads(line)
                    self.rows[kernel_id] = Row(Status(status), *numbers)
        else:
            path.write_text(json.dumps(head) + "\n", encoding="utf-8")
        self._file = path.open("a", encoding="utf-8")

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, kernel_id: str, row: Row) -> None:
        """Durable when it returns."""
        self.rows[kernel_id] = row
        line = [kernel_id, str(row.status), row.speedup, row.deviation, round(row.seconds, 4), row.confirmed]
        self._file.write(f"\n{json.dumps(line)}")
        self._file.flush()
        os.fsync(self._file.fileno())

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)


def measure(
    task: Task,
    device: Device,
    settings: EvaluationSettings,
    kernels: Sequence[Kernel],
    journal: Journal,
    told: Callable[[int], None] = lambda _: None,
) -> None:
    """Judge what the journal does not hold yet. `told` hears after each how many of `kernels` are done.

    In an order by chance, of the seed of `settings`: neighbours in the space do not share what the machine was like for some minutes.
    Of many that were measured once the highest are too high: the fittest are then measured again, as finalists are, until the first
    `_CONFIRMED` all are. Raises UserError as judging does.
    """
    missing = [kernel for kernel in kernels if kernel.id not in journal.rows]
    done = len(kernels) - len(missing)
    told(done)
    if not missing and _unconfirmed(kernels, journal) is None:
        return
    random.Random(derive_seed(settings.seed, "tabulate")).shuffle(missing)
    with closing(Pipeline(task, device, settings)) as pipeline:
        pipeline.warm()
        for kernel, compiling in _compiled_ahead(pipeline, missing):
            verdict = pipeline.evaluate(kernel)
            journal.add(kernel.id, _row(verdict, compiling))
            done += 1
            told(done)
        while (fit := _unconfirmed(kernels, journal)) is not None:
            verdict = pipeline.evaluate(fit, timing=settings.final)
            journal.add(fit.id, _confirmed(journal.rows[fit.id], verdict))


_ROUGH = 0.2
"""Standard deviation of a speedup that could only be guessed, as a share of it."""


def _unconfirmed(kernels: Sequence[Kernel], journal: Journal) -> Kernel | None:
    """The fittest among the first that was measured once; None where there is none."""
    judged = [kernel for kernel in kernels if journal.rows[kernel.id].status is Status.OK]
    fittest = nlargest(_CONFIRMED, judged, key=lambda kernel: journal.rows[kernel.id].speedup)
    return next((kernel for kernel in fittest if not journal.rows[kernel.id].confirmed), None)


def _confirmed(row: Row, verdict: Evaluation) -> Row:
    return replace(row, status=verdict.status, speedup=verdict.fitness, confirmed=True)


def _compiled_ahead(pipeline: Pipeline, kernels: Sequence[Kernel]) -> Iterator[tuple[Kernel, float]]:
    """Kernels in order, each with the seconds that compiling it took, which went on while others were judged."""

    def compiled(kernel: Kernel) -> float:
        begin = monotonic()
        with suppress(FailedError):  # Judging it will say so.
            pipeline.compile(kernel)
        return monotonic() - begin

    with ExitStack() as stack:
        pool = ThreadPoolExecutor(1)
        stack.callback(pool.shutdown, cancel_futures=True)
        ahead: deque[tuple[Kernel, Future[float]]] = deque()
        for kernel in kernels:
            ahead.append((kernel, pool.submit(compiled, kernel)))
            if len(ahead) > _AHEAD:
                first, seconds = ahead.popleft()
                yield first, seconds.result()
        while ahead:
            first, seconds = ahead.popleft()
            yield first, seconds.result()


def _row(verdict: Evaluation, compiling: float) -> Row:
    seconds = compiling + sum(verdict.seconds.values()) - verdict.seconds.get("compile", 0.0)
    if verdict.speedup is None:
        return Row(verdict.status, verdict.fitness, _ROUGH if verdict.rough else 0.0, seconds)
    deviation = math.log(verdict.speedup.high / verdict.speedup.low) / 2 / _Z
    return Row(verdict.status, verdict.speedup.value, deviation, seconds)


def table_of(
    task: Task, device: str, about: Mapping[str, Any], part: Part, kernels: Kernels, journal: Journal
) -> Table:
    """Once everything is measured."""
    rows = [journal.rows[written.kernel.id] for written in kernels.written]
    names = sorted({name for written in kernels.written for name in written.traits})

    def column(values: Sequence[float]) -> np.ndarray:
        return np.array(values, dtype=np.float32)

    return Table(
        task=task.name,
        device=device,
        about=about,
        knobs=part.knobs,
        default=part.default,
        row_of=kernels.row_of,
        place=np.array([place_of(part, written) for written in kernels.written], dtype=np.int16),
        status=np.array([code_of(row.status) for row in rows], dtype=np.uint8),
        speedup=column([row.speedup for row in rows]),
        deviation=column([row.deviation for row in rows]),
        seconds=column([row.seconds for row in rows]),
        traits={name: column([written.traits.get(name, 0.0) for written in kernels.written]) for name in names},
    )
