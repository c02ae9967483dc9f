"""KernelBench's rules."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator

import pytest
import torch

from devices.cpu import CpuDevice
from evaluators.base import Evaluator
from evaluators.protocols.kernelbench import KernelBenchProtocol
from evaluators.protocols.kernelbench_rules import difference, fast_p, ratio_of_means
from evaluators.runtime.base import Runtime
from evaluators.sandbox.landlock import version
from evaluators.service.local import LocalEvaluator
from evaluators.service.pipeline import Pipeline
from evaluators.settings import EvaluationSettings, Precision, Protocol
from kernelevolve.core.errors import UserError
from kernelevolve.core.evaluation import Diagnosis, Evaluation, Measurement, Ratio, Status
from kernelevolve.core.task import Task
from tests.conformance.evaluator import EvaluatorConformance
from tests.evaluators.silu_mul import TASK, python_kernel

pytestmark = pytest.mark.alone

RIGHT = "return torch.nn.functional.silu(x) * y * self.scale"


def by_kernelbench(settings: EvaluationSettings, **rules: object) -> EvaluationSettings:
    """With few and short calls."""
    quick = {"timed_calls": 12, "flush_mb": 1, "timeout": 4.0, **rules}
    chosen = settings.kernelbench.model_copy(update=quick)
    return settings.model_copy(update={"protocol": Protocol.KERNELBENCH, "kernelbench": chosen})


@pytest.fixture(scope="module")
def judge(settings: EvaluationSettings, runtime: Runtime) -> Iterator[Pipeline]:
    made = Pipeline(TASK, CpuDevice(), by_kernelbench(settings), runtime=runtime)
    yield made
    made.close()


class TestLocalEvaluatorByKernelBench(EvaluatorConformance):
    @classmethod
    def open(cls, task: Task, settings: EvaluationSettings) -> Evaluator:
        return LocalEvaluator(task, CpuDevice(), by_kernelbench(settings, timeout=settings.run_timeout))

    @classmethod
    def close(cls, evaluator: Evaluator) -> None:
        assert isinstance(evaluator, LocalEvaluator)
        evaluator.close()


def test_a_right_kernel_is_timed_by_means(judge: Pipeline) -> None:
    verdict = judge.evaluate(python_kernel(RIGHT))
    assert verdict.status is Status.OK, verdict.diagnosis
    assert verdict.environment["protocol"] == "kernelbench"
    measured = verdict.measurement
    assert measured is not None
    assert measured.rounds == 12
    assert measured.fitness == pytest.approx(measured.reference_seconds / measured.kernel_seconds)
    assert verdict.variants == {}
    assert verdict.machine is not None


def trial_seeds(judge: Pipeline) -> list[int]:
    assert isinstance(judge.protocol, KernelBenchProtocol)
    return judge.protocol.trial_seeds()


def test_seeds_are_those_that_kernelbench_draws(judge: Pipeline) -> None:
    """`torch.manual_seed(42)`, then one `torch.randint(0, 2**32 - 1, (1,))` for each trial."""
    torch.manual_seed(42)
    drawn = [torch.randint(0, 2**32 - 1, (1,)).item() for _ in range(5)]
    assert trial_seeds(judge) == drawn


def test_inputs_and_weights_are_drawn_from_those_seeds(judge: Pipeline) -> None:
    """A kernel that knows them by the seeds alone is right in every trial, and only because it is called in this order."""
    seeds = trial_seeds(judge)
    forward = f"""seeds = {[*seeds]}
        number = getattr(self, 'number', 0)
        self.number = number + 1
        torch.manual_seed(seeds[number] if number < {len(seeds)} else 42)
        assert torch.equal(x, torch.randn(512, 256)) and torch.equal(y, torch.randn(512, 256)), number
        torch.manual_seed(42)
        assert torch.equal(self.scale, torch.randn(256))
        {RIGHT}"""
    verdict = judge.evaluate(python_kernel(forward))
    assert verdict.status is Status.OK, verdict.diagnosis


@pytest.mark.parametrize(
    ("forward", "status", "said"),
    [
        (f"{RIGHT} + 1e-3", Status.WRONG_RESULT, "5 of 5 trials differ: by 0.001"),
        (
            "self.n = getattr(self, 'n', 0) + 1; " + RIGHT + " + (1.0 if self.n == 2 else 0.0)",
            Status.WRONG_RESULT,
            "1 of 5",
        ),
        (f"{RIGHT} * float('nan')", Status.WRONG_RESULT, "inf"),
        ("return (torch.nn.functional.silu(x) * y * self.scale)[:3]", Status.WRONG_SHAPE, "(3, 256)"),
        (RIGHT.replace("return ", "return (") + ").double()", Status.WRONG_SHAPE, "float64"),
        ("return x.frobnicate()", Status.RUNTIME_ERROR, "frobnicate"),
    ],
)
def test_what_kernelbench_refuses(judge: Pipeline, forward: str, status: Status, said: str) -> None:
    verdict = judge.evaluate(python_kernel(forward))
    assert verdict.status is status
    assert verdict.diagnosis is not None
    assert verdict.diagnosis.stage == "correctness"
    assert said in verdict.diagnosis.summary


def test_what_it_lets_pass_and_strict_does_not(judge: Pipeline, pipeline: Pipeline) -> None:
    """Results that are kept for inputs seen before, which all timed calls get."""
    kept = "known = vars(self).setdefault('known', {})"
    cached = f"""{kept}
        key = (x.data_ptr(), float(x[0, 0]))
        if key not in known: known[key] = torch.nn.functional.silu(x) * y * self.scale
        return known[key]"""
    assert judge.evaluate(python_kernel(cached)).status is Status.OK
    assert pipeline.evaluate(python_kernel(cached)).status is not Status.OK


@pytest.mark.skipif(version() == 0, reason="no Landlock")
def test_kernels_are_confined_by_these_rules_too(judge: Pipeline) -> None:
    home = os.path.expanduser("~")
    for body in (f"os.listdir({home!r})", "os.fork()", f"open('{judge.runtime.server._base}/mine', 'w')"):
        verdict = judge.evaluate(python_kernel(f"{body}; {RIGHT}"))
        assert verdict.status is Status.RUNTIME_ERROR, (body, verdict)


def test_models_and_inputs_are_cast(
    judge: Pipeline, settings: EvaluationSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = by_kernelbench(settings, precision=Precision.BFLOAT16).kernelbench
    monkeypatch.setattr(judge.protocol, "_rules", rules)
    right = judge.evaluate(python_kernel(f"assert x.dtype == self.scale.dtype == torch.bfloat16; {RIGHT}"))
    assert right.status is Status.OK, right.diagnosis
    assert judge.evaluate(python_kernel(f"{RIGHT} * 1.004")).status is Status.OK, "bfloat16 is judged by 1e-2"


def test_an_excessive_speedup_is_flagged(
    judge: Pipeline, settings: EvaluationSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "excessive_speedup" not in judge.evaluate(python_kernel(RIGHT)).environment
    monkeypatch.setattr(judge.protocol, "_rules", by_kernelbench(settings, excessive_speedup=1e-3).kernelbench)
    assert judge.evaluate(python_kernel(RIGHT)).environment["excessive_speedup"] == "above 0.001x"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            ("return torch", "__import__('time').sleep(9); return torch"),
            r"takes longer than 4 s: .*raise evaluation\.kernelbench\.timeout",
        ),
        (("[torch.randn(512, 256),", "[object(),"), "object"),
    ],
)
def test_a_task_at_fault_is_one_line(
    settings: EvaluationSettings, runtime: Runtime, change: tuple[str, str], said: str
) -> None:
    broken = Task(name="broken", source=TASK.source.replace(*change))
    made = Pipeline(broken, CpuDevice(), by_kernelbench(settings), runtime=runtime)
    with pytest.raises(UserError, match=said) as error:
        made.evaluate(python_kernel(RIGHT))
    made.close()
    assert str(error.value).startswith("task broken")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("count", [3, (1 << 20) + 5])
def test_differences_are_those_of_allclose(count: int) -> None:
    a = torch.linspace(-2, 2, count)
    assert difference(a, a + 9e-5, 1e-4) is None
    b = a.clone()
    b[-1] += 0.5
    assert difference(a, b, 1e-4) == (pytest.approx(0.5), pytest.approx(0.5 / count, rel=1e-3))
    b[-1] = math.nan
    found = difference(a, b, 1e-4)
    assert found is not None
    assert found[0] == math.inf
    assert difference(torch.tensor([True, False]), torch.tensor([True, False]), 1e-4) is None
    assert difference(torch.tensor([True, False]), torch.tensor([True, True]), 1e-4) == (1.0, 0.5)


def test_the_ratio_is_that_of_means() -> None:
    ratio = ratio_of_means([2.0, 4.0, 6.0] * 20, [1.0, 1.0, 1.0, 5.0] * 20, 7)
    assert ratio.value == pytest.approx(2.0)
    assert ratio.low < 1.9
    assert ratio.high > 2.1
    assert ratio_of_means([3.0, 3.0], [1.5, 1.5], 7) == Ratio(value=2.0, low=2.0, high=2.0)


def test_fast_p_counts_correct_kernels_that_are_more_than_so_fast() -> None:
    def verdict(speedup: float | None) -> Evaluation:
        found = {"kernel_id": "k", "task_id": "t", "device": "cpu"}
        if speedup is None:
            return Evaluation(**found, status=Status.CRASHED, diagnosis=Diagnosis(stage="timing", summary="gone"))
        ratio = Ratio(value=speedup, low=speedup, high=speedup)
        measured = Measurement(speedup=ratio, reference_seconds=speedup, kernel_seconds=1.0, rounds=1)
        return Evaluation(**found, status=Status.OK, measurement=measured)

    verdicts = [verdict(s) for s in (None, 0.5, 1.0, 3.0)]
    assert [fast_p(verdicts, p) for p in (0.0, 1.0, 2.0, 3.0)] == [0.75, 0.25, 0.25, 0.0]
    assert fast_p([], 1.0) == 0.0
