"""The stopwatch: what a timed block finds when it begins."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from evaluators.correctness.checker import Checker
from evaluators.correctness.reference.store import compute_reference, probe_task
from evaluators.runtime.base import BlockResult, TimedBlock
from evaluators.runtime.cpu.fork_server import ForkServer
from evaluators.runtime.cpu.runner import CpuRunner
from evaluators.runtime.cpu.runtime import CpuRuntime
from evaluators.settings import EvaluationSettings
from evaluators.timing.calibration import Calibrations
from evaluators.timing.fresh_inputs import FreshValues
from evaluators.timing.stopwatch import REFERENCE, Entrant, Stopwatch, input_bytes
from kernelevolve.core.task import Task

TASK = Task(
    name="add_one",
    source="""import torch
from torch import nn


class Model(nn.Module):
    def forward(self, x):
        return x + 1


def get_inputs():
    return [torch.randn(64, 96)]


def get_init_inputs():
    return []
""",
)
ROUNDS, FIRST = 12, 4


class CountingRuntime(CpuRuntime):
    """A runtime that counts the page faults of runners in the blocks of rounds."""

    def __init__(self) -> None:
        super().__init__(ForkServer(threads=1, confined=True), 1)
        self.faults: list[int] = []

    def run(self, blocks: Sequence[TimedBlock]) -> list[BlockResult]:
        before = [page_faults(block) for block in blocks]
        results = super().run(blocks)
        if all(block.staged for block in blocks):
            self.faults += [page_faults(block) - count for block, count in zip(blocks, before, strict=True)]
        return results


def page_faults(block: TimedBlock) -> int:
    """Return the page faults of a runner that needed no reading from a disk, so far."""
    assert isinstance(block.runner, CpuRunner)
    return int(Path(f"/proc/{block.runner.process.pid}/stat").read_text().rpartition(")")[2].split()[7])


def test_timed_blocks_take_no_memory_from_the_system(settings: EvaluationSettings) -> None:
    """Whatever the results of a block may lie in was touched before the first one, so no timed call is slow for that."""
    timing = settings.timing.model_copy(update={"max_calls": 3, "block_seconds": 10.0, "max_rounds": ROUNDS})
    settings = settings.model_copy(update={"timing": timing, "trials": 1})
    with closing(CountingRuntime()) as runtime:
        reference = compute_reference(TASK, settings, runtime, probe_task(TASK, settings, runtime))
        room, main = input_bytes(reference, settings), reference.main
        with (
            runtime.spawn(room, trusted=True, memory_gb=2.0, processor_seconds=100.0) as native,
            runtime.spawn(room, trusted=True, memory_gb=2.0, processor_seconds=100.0) as other,
        ):
            for runner in (native, other):
                runner.allow(60.0)
                runner.load_reference(TASK)
                runner.build()
            watch = Stopwatch(
                runtime,
                [native],
                {"other": Entrant([other], checked=True)},
                main,
                FreshValues(main),
                Checker(reference, TASK.tolerance).bounds(main.expected),
                timing,
                0,
                Calibrations(),
            )
            watch.run(lambda times, _: len(times[REFERENCE]) == ROUNDS)
    assert len(runtime.faults) == 2 * ROUNDS
    # Orders take a page now and then. Padding that is touched late takes up to 64 pages of each process, most of them in the first rounds.
    assert sum(runtime.faults[: 2 * FIRST]) < 40, runtime.faults
