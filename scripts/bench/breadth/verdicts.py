"""Verdicts without times: is a copy of the reference right by each protocol, and which is the built-in operator's first right draft?

    python -m scripts.bench.breadth.verdicts NAME TASK CORE...

prints one JSON object, from these cores. Nothing is timed but by KernelBench's protocol, whose figure is ignored, so that several may run
beside each other.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from devices.cpu import CpuDevice
from evaluators.service.pipeline import Pipeline
from evaluators.verdict import FailedError
from kernelevolve import config
from kernelevolve.core.errors import UserError
from kernelevolve.core.evaluation import Diagnosis, Evaluation, Status
from kernelevolve.core.graph import Draft, Expansion, Node, Phase
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.task import Task
from kernelevolve.synthesis.base import Context, Operator
from kernelevolve.tasks.catalog import find_task
from scripts.bench.breadth.trying import Verdicts, copy_of

_DRAFTS = 6
"""Within which one must be right: a few for each stage of the chain."""
_SETTINGS = {
    "strict": ["evaluation=default"],
    "kernelbench": [
        "evaluation=kernelbench",
        *(
            f"evaluation.kernelbench.{key}"
            for key in ("warmup_calls=0", "discarded_calls=0", "timed_calls=2", "repeats=0")
        ),
    ],
}
"""Protocol -> settings by which it judges as always and times as little as it can."""


@dataclass(frozen=True)
class FirstRight:
    """The first right draft of an operator."""

    draft: Draft | None
    """None where none of the drafts is right."""
    complaints: tuple[str, ...]
    """Why those before it are not."""


def complaint(pipeline: Pipeline, kernel: Kernel) -> Diagnosis | None:
    """Why a kernel is not right on every case by the strict protocol; nothing is timed."""
    try:
        with pipeline.strict.checked_kernel(kernel, pipeline.compile(kernel), 1):
            return None
    except FailedError as error:
        return error.failure.diagnosis


def first_right(pipeline: Pipeline, operator: Operator) -> FirstRight:
    """Let an operator draft kernels until one is right."""
    known: set[str] = set()
    complaints: list[str] = []
    for step in range(_DRAFTS):
        context = Context(task=pipeline.task, target=pipeline.target, parents=(), history=(), known_kernels=known)
        draft = asyncio.run(operator.propose(Expansion(step=step, phase=Phase.DRAFT, seed=step), context))
        found = draft.rejected or complaint(pipeline, draft.kernel)
        if found is None:
            return FirstRight(draft, tuple(complaints))
        complaints.append(f"{draft.operator}: {found.summary}")
        known.add(draft.kernel.id)
        operator.tell(_node(draft, step, pipeline.task, found))
    return FirstRight(None, tuple(complaints))


def verdicts_of(path: Path, name: str) -> Verdicts:
    """Judge a task's copy and the operator's first drafts."""
    copies: dict[str, str] = {}
    try:
        task = find_task(str(path))
        copy = Kernel(source=copy_of(path.read_text()), language="python")
        started = time.monotonic()
        with closing(_pipeline(task, "strict")) as pipeline:
            pipeline.warm()
            prepared = time.monotonic()
            operator = config.load([], task=str(path)).operator.build("operator").prepare(task)
            found = first_right(pipeline, operator)
            ended = time.monotonic()
            diagnosis = complaint(pipeline, copy)
            copies["strict"] = "ok" if diagnosis is None else diagnosis.summary
        with closing(_pipeline(task, "kernelbench")) as pipeline:
            evaluation = pipeline.evaluate(copy)
            copies["kernelbench"] = _told(evaluation)
    except UserError as error:
        return Verdicts(name, copies, refused=str(error))
    first = f"{found.draft.operator}: {found.draft.note}" if found.draft else ""
    return Verdicts(
        name,
        copies,
        first,
        found.complaints,
        prepare_seconds=prepared - started,
        first_seconds=ended - prepared,
    )


def _pipeline(task: Task, protocol: str) -> Pipeline:
    settings = config.load(["evaluation.cache=off", *_SETTINGS[protocol]], task=task.name)
    return Pipeline(task, CpuDevice(), settings.evaluation)


def _told(evaluation: Evaluation) -> str:
    diagnosis = evaluation.diagnosis
    return f"{evaluation.status}: {diagnosis.summary}" if diagnosis else str(evaluation.status)


def _node(draft: Draft, step: int, task: Task, found: Diagnosis) -> Node:
    evaluation = Evaluation(
        kernel_id=draft.kernel.id,
        task_id=task.id,
        device="cpu",
        status=Status.WRONG_RESULT,
        diagnosis=found,
    )
    return Node(
        id=str(step),
        run="verdicts",
        island=0,
        step=step,
        phase=Phase.DRAFT,
        operator=draft.operator,
        kernel_id=draft.kernel.id,
        evaluation=evaluation,
    )


def main() -> int:
    name, path, *cores = sys.argv[1:]
    os.sched_setaffinity(0, map(int, cores))
    print(verdicts_of(Path(path), name).to_json())
    return 0


if __name__ == "__main__":
    sys.exit(main())
