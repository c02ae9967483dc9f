"""Measuring a space of kernels: every kernel is evaluated once, as in a search.

The results are kept in a journal, so that the measurement can be interrupted.
"""

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
"""The number of kernels that are compiled ahead of their evaluation."""
_CONFIRMED = 20
"""The number of fittest kernels whose speedups are measured again. Selection by the first measurement biases it
upwards.
"""
_Z = 1.959964
"""The half-width of a 95% interval in standard deviations."""


@dataclass(frozen=True)
class Row:
    """The result of evaluating one kernel."""

    status: Status
    speedup: float
    """The speedup over eager; 0 if the kernel is not correct."""
    deviation: float
    """The standard deviation of the logarithm of a speedup that a search measures once."""
    seconds: float
    """The seconds that compiling and evaluating took."""
    confirmed: bool = False
    """Whether the speedup comes from a second measurement with the settings of finalists."""


class Journal:
    """A file of rows, one per line, for one task and certain settings. Use it as a context manager."""

    def __init__(self, path: Path, task: Task, settings: EvaluationSettings) -> None:
        """Open or create a journal. Raises UserError if the file belongs to another task or other settings."""
        self._path = path
        self.rows: dict[str, Row] = {}
        head = {"journal": content_id(task.id, settings.model_dump_json())}
        if path.exists():
            lines = path.read_text(encoding="utf-8").splitlines()
            if not lines or lines[0] != json.dumps(head):
                raise UserError(f"{path} holds measurements of something else: remove it, or choose another --out")
            for line in lines[1:]:
                with suppress(ValueError):  # The last line is incomplete if writing was interrupted.
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
        """Append a row. It is on disk when this returns."""
        self.rows[kernel_id] = row
        line = [kernel_id, str(row.status), row.speedup, row.deviation, round(row.seconds, 4), row.confirmed]
        self._file.write(f"\n{json.dumps(line)}")
        self._file.flush()
        os.fsync(self._file.fileno())

    def remove(self) -> None:
        """Delete the file."""
        self._path.unlink(missing_ok=True)


def measure(
    task: Task,
    device: Device,
    settings: EvaluationSettings,
    kernels: Sequence[Kernel],
    journal: Journal,
    report: Callable[[int], None] = lambda _: None,
) -> None:
    """Evaluate the kernels that the journal does not hold yet.

    The order is random, so that neighbours in the space are not measured under the same conditions of the machine.
    Of many kernels that were measured once, the fastest ones are overestimated. The fittest are therefore measured
    again like finalists, until the first `_CONFIRMED` all are.

    Args:
        task: The task.
        device: The device.
        settings: The settings of the evaluation. Their seed determines the order.
        kernels: The kernels.
        journal: The journal.
        report: A function that is called with the number of finished kernels.

    Raises:
        UserError: The evaluation is impossible.
    """
    missing = [kernel for kernel in kernels if kernel.id not in journal.rows]
    done = len(kernels) - len(missing)
    report(done)
    if not missing and _unconfirmed(kernels, journal) is None:
        return
    random.Random(derive_seed(settings.seed, "tabulate")).shuffle(missing)
    with closing(Pipeline(task, device, settings)) as pipeline:
        pipeline.warm()
        for kernel, compiling in _compiled_ahead(pipeline, missing):
            evaluation = pipeline.evaluate(kernel)
            journal.add(kernel.id, _row(evaluation, compiling))
            done += 1
            report(done)
        while (fit := _unconfirmed(kernels, journal)) is not None:
            evaluation = pipeline.evaluate(fit, timing=settings.final)
            journal.add(fit.id, _confirmed(journal.rows[fit.id], evaluation))


_ROUGH = 0.2
"""The relative standard deviation that is assumed for a speedup that could only be estimated."""


def _unconfirmed(kernels: Sequence[Kernel], journal: Journal) -> Kernel | None:
    """Return the fittest of the first `_CONFIRMED` kernels that was measured only once, or None."""
    correct = [kernel for kernel in kernels if journal.rows[kernel.id].status is Status.OK]
    fittest = nlargest(_CONFIRMED, correct, key=lambda kernel: journal.rows[kernel.id].speedup)
    return next((kernel for kernel in fittest if not journal.rows[kernel.id].confirmed), None)


def _confirmed(row: Row, evaluation: Evaluation) -> Row:
    return replace(row, status=evaluation.status, speedup=evaluation.fitness, confirmed=True)


def _compiled_ahead(pipeline: Pipeline, kernels: Sequence[Kernel]) -> Iterator[tuple[Kernel, float]]:
    """Yield the kernels in order, each with the seconds of its compilation, which runs in parallel to evaluations."""

    def compiled(kernel: Kernel) -> float:
        begin = monotonic()
        with suppress(FailedError):  # The evaluation reports the failure.
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


def _row(evaluation: Evaluation, compiling: float) -> Row:
    seconds = compiling + sum(evaluation.seconds.values()) - evaluation.seconds.get("compile", 0.0)
    if evaluation.speedup is None:
        return Row(evaluation.status, evaluation.fitness, _ROUGH if evaluation.rough else 0.0, seconds)
    deviation = math.log(evaluation.speedup.high / evaluation.speedup.low) / 2 / _Z
    return Row(evaluation.status, evaluation.speedup.value, deviation, seconds)


def table_of(
    task: Task, device: str, about: Mapping[str, Any], part: Part, kernels: Kernels, journal: Journal
) -> Table:
    """Return the table, once all kernels are measured."""
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
