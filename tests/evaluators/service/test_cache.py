"""Verdicts on disk: which are kept, for how long, and what makes them others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from devices.cpu import CpuDevice
from evaluators.service.cache import EvaluationCache
from evaluators.service.identity import code_files, identity_of
from evaluators.settings import EvaluationSettings
from kernelevolve.core.errors import UserError
from kernelevolve.core.evaluation import Check, Diagnosis, Evaluation, Measurement, Ratio, Status
from kernelevolve.core.task import Task
from tests.evaluators.silu_mul import TASK

ROOT = Path(__file__).parents[3]


def verdict(status: Status, kernel: str = "k", details: str = "") -> Evaluation:
    ratio = Ratio(value=2.0, low=1.9, high=2.1)
    measured = Measurement(speedup=ratio, reference_seconds=2.0, kernel_seconds=1.0, rounds=9)
    return Evaluation(
        kernel_id=kernel,
        task_id="t",
        device="cpu",
        status=status,
        measurement=measured if status is Status.OK else None,
        diagnosis=None if status is Status.OK else Diagnosis(stage="correctness", summary="so", details=details),
    )


@pytest.mark.parametrize("status", list(Status))
def test_what_may_be_the_machines_fault_is_judged_again(tmp_path: Path, status: Status) -> None:
    cache = EvaluationCache(tmp_path, 1)
    cache.put(verdict(status), "here")
    found = EvaluationCache(tmp_path, 1).get("k", "here")
    if status in (Status.TIMEOUT, Status.CRASHED, Status.OUT_OF_MEMORY):
        assert found is None
    else:
        assert found == verdict(status).model_copy(update={"cached": True})
    assert cache.get("k", "elsewhere") is None
    assert cache.get("other", "here") is None


def test_what_time_ran_out_for_is_judged_again(tmp_path: Path) -> None:
    cache = EvaluationCache(tmp_path, 1)
    shapes = Check(name="hidden shapes", count=0, skipped=("torch.export takes longer than 60 s",), timed_out=True)
    cache.put(verdict(Status.OK).model_copy(update={"checks": (shapes,)}), "here")
    assert cache.get("k", "here") is None
    cache.put(
        verdict(Status.OK).model_copy(update={"checks": (shapes.model_copy(update={"timed_out": False}),)}), "here"
    )
    assert cache.get("k", "here") is not None


def test_it_is_the_users_alone(tmp_path: Path) -> None:
    cache = EvaluationCache(tmp_path, 1)
    assert cache.file.parent.stat().st_mode & 0o077 == 0


def test_the_oldest_go_when_there_is_no_room(tmp_path: Path) -> None:
    cache = EvaluationCache(tmp_path, 1)
    for number in range(400):
        cache.put(verdict(Status.WRONG_RESULT, f"k{number}", "x" * 4000), "here")
    assert cache.file.stat().st_size < 1.2 * (1 << 20)
    assert cache.get("k0", "here") is None
    assert cache.get("k399", "here") is not None


WRITER = """
import sys
from pathlib import Path
from evaluators.service.cache import EvaluationCache
from kernelevolve.core.evaluation import Evaluation
cache = EvaluationCache(Path(sys.argv[1]), 10)
for number in range(30):
    told = Evaluation.model_validate_json(sys.argv[3]).model_copy(update={"kernel_id": f"{sys.argv[2]}.{number}"})
    cache.put(told, "here")
"""


def test_several_processes_write_at_once(tmp_path: Path) -> None:
    told = verdict(Status.OK).model_dump_json()
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), name, told], cwd=ROOT)
        for name in ("a", "b", "c")
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    cache = EvaluationCache(tmp_path, 10)
    assert all(cache.get(f"{name}.{number}", "here") for name in "abc" for number in range(30))


def test_a_file_that_is_no_cache_is_named(tmp_path: Path) -> None:
    file = EvaluationCache(tmp_path, 1).file
    file.write_bytes(b"no database " * 1000)
    with pytest.raises(UserError, match=r"verdicts\.sqlite.*evaluation\.cache=off"):
        EvaluationCache(tmp_path, 1).get("k", "here")


def test_a_verdict_rests_on_what_it_was_found_with(settings: EvaluationSettings) -> None:
    device = CpuDevice()
    target = device.target()

    def of(careful: bool = False, **changed: object) -> str:
        return identity_of(TASK, device, target, settings.model_copy(update=changed), careful=careful)

    assert of() == of(workers=7, cache=True, queue=3, retries=9)
    others = [
        of(trials=5),
        of(seed=settings.seed + 1),
        of(sandbox=False),
        of(threads=1),
        of(careful=True),
        identity_of(TASK, device, target.model_copy(update={"arch": "other"}), settings, careful=False),
        identity_of(Task(name="t", source=TASK.source, seed=9), device, target, settings, careful=False),
    ]
    assert len({of(), *others}) == len(others) + 1


def test_a_verdict_rests_on_the_code_that_found_it() -> None:
    found = {str(file.relative_to(ROOT)) for file in code_files()}
    assert {"evaluators/correctness/compare.py", "devices/cpu.py", "kernelevolve/core/task.py"} <= found
