"""The service on real Ray."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress

import psutil
import pytest
import ray
from ray.exceptions import RayError

from devices.cpu import CpuDevice, usable_cores
from devices.toolchains.loader import LOADER
from evaluators.base import Evaluator
from evaluators.service.comparison import Comparison
from evaluators.service.service import EvaluationService
from evaluators.settings import EvaluationSettings
from kernelevolve.core.errors import UserError
from kernelevolve.core.evaluation import Evaluation, Status
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.task import Task
from kernelevolve.remote import ask
from tests.conformance.evaluator import EvaluatorConformance
from tests.evaluators.silu_mul import TASK, python_kernel

pytestmark = pytest.mark.alone

RIGHT = "return torch.nn.functional.silu(x) * y * self.scale"


@pytest.mark.usefixtures("ray_cluster")
class TestEvaluationService(EvaluatorConformance):
    @classmethod
    def open(cls, task: Task, settings: EvaluationSettings) -> Evaluator:
        return EvaluationService.start(task, CpuDevice(), settings)

    @classmethod
    def close(cls, evaluator: Evaluator) -> None:
        assert isinstance(evaluator, EvaluationService)
        evaluator.close()


@pytest.mark.usefixtures("ray_cluster")
def test_kernels_are_judged_side_by_side_and_none_twice_at_a_time(settings: EvaluationSettings) -> None:
    service = EvaluationService.start(TASK, CpuDevice(), settings)
    ray.get(service.warm())
    kernels = [python_kernel(RIGHT), python_kernel("return x")]

    async def all_of_them() -> list[Evaluation]:
        return list(await asyncio.gather(*(service.evaluate(k) for k in [*kernels, kernels[0]])))

    right, wrong, again = asyncio.run(all_of_them())
    assert right.status is Status.OK
    assert wrong.status is Status.WRONG_RESULT
    assert again == right
    service.close()


@pytest.fixture(scope="module")
def tight(
    ray_cluster: None,  # noqa: ARG001 - which pytest brings up first
    settings: EvaluationSettings,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[EvaluationService]:
    """One judge, one compile worker, little room, and verdicts kept in a folder of this test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        few = {"workers": 1, "compile_workers": 1, "batch": 2, "queue": ROOM, "cache": True, "run_timeout": LIMIT}
        service = EvaluationService.start(TASK, CpuDevice(), settings.model_copy(update=few))
    ray.get(service.warm())
    yield service
    service.close()


LIMIT = 8.0
ROOM = 4
ENDLESS = "while True: pass"


def processes(title: str) -> list[psutil.Process]:
    """Of the Ray of these tests, that run what begins with this: other sessions on this machine have processes of that title too."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            if (process.cmdline() or [""])[0].startswith(title):
                found.append(process)
    return found


async def kill(title: str, sparing: Sequence[psutil.Process] = ()) -> None:
    """Wait for a process of that title that is none of these, and kill it."""
    while not (found := [process for process in processes(title) if process not in sparing]):
        await asyncio.sleep(0.02)
    for process in found:
        process.kill()


def test_a_cancelled_evaluation_frees_its_judge_at_once(tight: EvaluationService) -> None:
    async def cancelled_while_it_runs() -> tuple[Evaluation, float]:
        await tight.evaluate(python_kernel("return x * 1.5"))
        asked = [asyncio.create_task(tight.evaluate(python_kernel(f"n = {n}\n        {ENDLESS}"))) for n in range(3)]
        await asyncio.sleep(1.0)
        begin = time.monotonic()
        for one in asked:
            one.cancel()
        wrong = await tight.evaluate(python_kernel("return x * 1.6"))
        return wrong, time.monotonic() - begin

    wrong, seconds = asyncio.run(cancelled_while_it_runs())
    assert wrong.status is Status.WRONG_RESULT
    assert seconds < LIMIT - 2.0


def broken(number: int) -> Kernel:
    """A kernel that no toolchain takes."""
    source = f"import torch\nclass ModelNew:\n    number = {number}\n    def forward(self, x, y: return x"
    return Kernel(source=source, language="python")


def test_what_does_not_compile_waits_for_no_judge(tight: EvaluationService) -> None:
    async def beside_one_that_hangs() -> tuple[list[Evaluation], bool]:
        hanging = asyncio.create_task(tight.evaluate(python_kernel(ENDLESS)))
        await asyncio.sleep(0.5)
        verdicts = await asyncio.gather(*(tight.evaluate(broken(number)) for number in range(8)))
        still = not hanging.done()
        hanging.cancel()
        return verdicts, still

    verdicts, still = asyncio.run(beside_one_that_hangs())
    assert {verdict.status for verdict in verdicts} == {Status.INVALID_SOURCE}
    assert verdicts[0].environment["torch"]
    assert still


def test_where_there_is_no_room_kernels_wait_and_come_in_turn(tight: EvaluationService) -> None:
    done: list[int] = []

    async def judged(number: int) -> None:
        await tight.evaluate(broken(number))
        done.append(number)

    async def behind_a_full_house() -> list[int]:
        hanging = [
            asyncio.create_task(tight.evaluate(python_kernel(f"n = {n}\n        {ENDLESS}"))) for n in range(ROOM)
        ]
        await asyncio.sleep(0.5)
        waiting = []
        for number in range(20, 32):
            waiting.append(asyncio.create_task(judged(number)))
            await asyncio.sleep(0.05)
        before = list(done)
        for one in hanging:
            one.cancel()
        await asyncio.gather(*waiting)
        return before

    assert asyncio.run(behind_a_full_house()) == []
    # As many as there is room for are under way side by side.
    assert all(abs(place + 20 - number) < ROOM for place, number in enumerate(done))


def test_a_verdict_that_is_known_costs_nothing(tight: EvaluationService) -> None:
    kernel, broken = python_kernel("return y * 1.5"), Kernel(source="def", language="python")

    async def twice() -> list[Evaluation]:
        return [await tight.evaluate(k) for k in (kernel, kernel, broken, broken)]

    first, second, bad, worse = asyncio.run(twice())
    assert (first.cached, second.cached, bad.cached, worse.cached) == (False, True, False, True)
    assert second.model_copy(update={"cached": False}) == first
    assert worse.model_copy(update={"cached": False}) == bad


SLOW_TO_COMPILE = f"""{LOADER}
CPP_FLAGS = ["-O3"]
CPP_SOURCE = r'''
#include <regex>
#include <string>
extern "C" int count(const char* text) {{ return std::regex_match(std::string(text), std::regex("a+b*")) ? 1 : 0; }}
'''
import torch


class ModelNew(torch.nn.Module):
    def forward(self, x, y):
        return x
"""


def test_a_compile_worker_that_dies_is_replaced(tight: EvaluationService) -> None:
    async def killed() -> Evaluation:
        asked = asyncio.create_task(tight.evaluate(Kernel(source=SLOW_TO_COMPILE, language="cpp")))
        await kill("ray::compile_task")
        return await asked

    verdict = asyncio.run(killed())
    assert verdict.status is Status.WRONG_RESULT, verdict.diagnosis
    assert verdict.seconds["compile"] > 0


def test_a_cancelled_evaluation_ends_its_compiler(tight: EvaluationService) -> None:
    async def cancelled() -> None:
        source = SLOW_TO_COMPILE.replace("a+b*", "a+c*")
        asked = asyncio.create_task(tight.evaluate(Kernel(source=source, language="cpp")))
        while not (found := [c for p in processes("ray::compile_task") for c in p.children(recursive=True)]):
            await asyncio.sleep(0.02)
        asked.cancel()
        gone, left = await asyncio.to_thread(psutil.wait_procs, found, 20.0)
        assert gone
        assert not left

    asyncio.run(cancelled())


def test_a_judge_that_dies_is_replaced(tight: EvaluationService) -> None:
    async def killed() -> tuple[Evaluation, Evaluation]:
        hanging = asyncio.create_task(tight.evaluate(python_kernel(ENDLESS)))
        await asyncio.sleep(1.0)
        other = asyncio.create_task(tight.evaluate(python_kernel("return x * 1.7")))
        await kill("ray::EvaluationWorker")
        return await hanging, await other

    hanging, other = asyncio.run(killed())
    assert hanging.status is Status.TIMEOUT
    assert other.status is Status.WRONG_RESULT


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize("retries", [0, 1])
def test_a_judge_that_dies_while_it_gets_ready_is_replaced_or_is_one_line(
    retries: int, settings: EvaluationSettings
) -> None:
    few = {"workers": 1, "compile_workers": 1, "cache": False, "retries": retries}
    others = processes("ray::EvaluationWorker")
    service = EvaluationService.start(TASK, CpuDevice(), settings.model_copy(update=few))
    warm = service.warm()
    asyncio.run(kill("ray::EvaluationWorker", others))
    if retries:
        assert ask(warm) == ""
    else:
        with pytest.raises(UserError, match="the process that evaluates dies while it gets ready"):
            ask(warm)
    service.close()


def test_the_last_measurement_is_the_judges_and_calls_off_what_is_under_way(tight: EvaluationService) -> None:
    right, wrong = python_kernel(f"{RIGHT}  # right"), python_kernel("return x * 1.8")

    async def beside_one_that_hangs() -> Comparison:
        hanging = asyncio.create_task(tight.evaluate(python_kernel(f"n = 99\n        {ENDLESS}")))
        await asyncio.sleep(1.0)
        found: Comparison = await tight.compare([right, wrong], with_compile=False)
        with pytest.raises(RayError):
            await hanging
        return found

    found = asyncio.run(beside_one_that_hangs())
    assert [finalist.kernel_id for finalist in found.finalists] == [right.id]
    assert set(found.failures) == {wrong.id}
    assert found.compile_note == "not asked for"
    assert asyncio.run(tight.evaluate(python_kernel("return x * 1.9"))).status is Status.WRONG_RESULT


def test_the_last_measurement_survives_its_judge(tight: EvaluationService) -> None:
    right = python_kernel(f"{RIGHT}  # again")

    async def killed() -> Comparison:
        asked = asyncio.ensure_future(tight.compare([right], with_compile=False))
        await asyncio.sleep(0.5)
        await kill("ray::EvaluationWorker")
        found: Comparison = await asked
        return found

    assert [finalist.kernel_id for finalist in asyncio.run(killed()).finalists] == [right.id]


@pytest.mark.usefixtures("ray_cluster")
def test_closing_does_not_wait_for_what_hangs(settings: EvaluationSettings) -> None:
    """And where no judge is left to retry with, the death of the last is raised."""
    alone = settings.model_copy(update={"workers": 1, "compile_workers": 1, "retries": 0, "run_timeout": 60.0})
    service = EvaluationService.start(TASK, CpuDevice(), alone)
    ray.get(service.warm())

    async def hang() -> float:
        lost = asyncio.create_task(service.evaluate(python_kernel(ENDLESS)))
        await asyncio.sleep(1.0)
        await kill("ray::EvaluationWorker")
        with pytest.raises(UserError, match="the process that evaluates dies while it evaluates"):
            await lost
        asked = asyncio.create_task(service.evaluate(python_kernel(ENDLESS)))
        await asyncio.sleep(3.0)
        begin = time.monotonic()
        await asyncio.to_thread(service.close)
        seconds = time.monotonic() - begin
        await asyncio.wait([asked])
        assert asked.exception() is not None
        return seconds

    assert asyncio.run(hang()) < 15.0


def test_kernels_have_every_core_and_the_record_says_so(tight: EvaluationService) -> None:
    """Ray gives its workers one thread."""
    body = f"assert torch.get_num_threads() == {usable_cores()}"
    verdict = asyncio.run(tight.evaluate(python_kernel(f"{body}\n        {RIGHT}")))
    assert verdict.status is Status.OK, verdict.diagnosis
    assert verdict.environment["threads"] == str(usable_cores())
