"""Kernels that turn against the evaluator itself: each gets a verdict, none an exception, none harms the next."""

from __future__ import annotations

import time

import pytest
import torch

from evaluators.correctness.bounds import bounds_of
from evaluators.correctness.compare import Mismatch
from evaluators.correctness.compare import compare as compare_within
from evaluators.service.pipeline import Pipeline
from kernelevolve.core.evaluation import Status
from kernelevolve.core.task import Tolerance
from tests.evaluators.silu_mul import python_kernel

pytestmark = pytest.mark.alone


def compare(
    candidate: torch.Tensor, native: torch.Tensor, oracle: torch.Tensor, tolerance: Tolerance, label: str
) -> Mismatch | None:
    return compare_within(candidate, native, oracle, bounds_of(native, oracle, tolerance), label)


RIGHT = "torch.nn.functional.silu(x) * y * self.scale"


def said(*texts: str) -> str:
    """Statements that say this on the channel to the judge, and end the process."""
    writes = "; ".join(f"os.write(3, {text!r}.encode() + b'\\n')" for text in texts)
    return f"{writes}; import time; time.sleep(0.2); os._exit(0)"


OUTPUT = '{{"dtype": "float32", "shape": [512, 256], "stride": {stride}, "pointer": {pointer}}}'


def call(outputs: str) -> str:
    told = f'{{"outputs": [{outputs}], "structure": "tensor"}}'
    return f'{{"calls": [{told}, {told}, {told}]}}'


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[]",
        "nonsense",
        "[" * 100_000,
        '{"calls": 5}',
        '{"calls": [{"outputs": []}]}',
        '{"failure": {"status": "ok", "summary": "", "details": ""}}',
        '{"failure": {"status": "x"}}',
        call(OUTPUT.format(stride=[256, 1], pointer=0)),
        call(OUTPUT.format(stride=[256, 1], pointer=-1)),
        call(OUTPUT.format(stride=[256, 1], pointer=1 << 62)),
        call(OUTPUT.format(stride=[256, -1], pointer=4096)),
        call('{"dtype": "object", "shape": [1], "stride": [1], "pointer": 4096}'),
    ],
)
def test_a_forged_reply_is_a_crash(pipeline: Pipeline, text: str) -> None:
    assert pipeline.evaluate(python_kernel(said(text))).status is Status.CRASHED


@pytest.mark.parametrize(
    "outputs",
    [
        OUTPUT.format(stride=[1 << 40, 1], pointer=4096),
        OUTPUT.format(stride=[256, 1], pointer=4096).replace("512", "1"),
    ],
)
def test_a_forged_shape_is_a_wrong_shape(pipeline: Pipeline, outputs: str) -> None:
    assert pipeline.evaluate(python_kernel(said(call(outputs)))).status is Status.WRONG_SHAPE


EARLY = """
import gc, sys, threading, time
_calls = 0


def early():
    time.sleep(0.0002)
    os.write(3, b"\\n")
"""


def test_who_says_done_too_early_is_found_out(pipeline: Pipeline) -> None:
    body = (
        "global _calls; _calls += 1\n"
        "        if _calls > 30 and sys._getframe(3).f_code.co_name == '_prepare': threading.Thread(target=early).start()\n"
        f"        time.sleep(0.001); return {RIGHT}"
    )
    verdict = pipeline.evaluate(python_kernel(body, EARLY))
    assert verdict.status is not Status.OK
    assert pipeline.evaluate(python_kernel(f"return {RIGHT}")).status is Status.OK


def test_results_kept_for_an_address_are_wrong_in_a_timed_call(pipeline: Pipeline) -> None:
    """Right in every call of the correctness run, where values at an address change before the kernel begins to keep results."""
    body = (
        "self.n = getattr(self, 'n', 0) + 1; self.kept = getattr(self, 'kept', {})\n"
        "        key = (x.data_ptr(), x.shape)\n"
        f"        if self.n < 60 or key not in self.kept: self.kept[key] = {RIGHT}\n"
        "        return self.kept[key].clone()"
    )
    verdict = pipeline.evaluate(python_kernel(body))
    assert verdict.status is Status.WRONG_RESULT, verdict
    assert verdict.diagnosis is not None
    assert "a timed call" in verdict.diagnosis.summary


def test_inputs_changed_in_timed_calls_only_are_found(pipeline: Pipeline) -> None:
    body = f"self.n = getattr(self, 'n', 0) + 1; r = {RIGHT}; self.n > 40 and x.zero_(); return r"
    verdict = pipeline.evaluate(python_kernel(body))
    assert verdict.status is Status.WRONG_RESULT
    assert verdict.diagnosis is not None
    assert "changed in a timed call" in verdict.diagnosis.summary


def test_work_left_to_a_thread_is_not_done(pipeline: Pipeline) -> None:
    body = (
        "out = torch.empty_like(x)\n"
        f"        threading.Thread(target=lambda: (time.sleep(0.01), out.copy_({RIGHT}))).start()\n"
        "        return out"
    )
    assert pipeline.evaluate(python_kernel(body, "import threading, time")).status is Status.WRONG_RESULT


def test_an_arena_cannot_be_taken_from_under_the_judge(pipeline: Pipeline) -> None:
    verdict = pipeline.evaluate(
        python_kernel("import glob; [os.ftruncate(int(f), 0) for f in os.listdir('/proc/self/fd')]")
    )
    assert verdict.status is Status.RUNTIME_ERROR


def test_endless_printing_ends_with_its_time_and_is_cut(pipeline: Pipeline) -> None:
    begin = time.monotonic()
    verdict = pipeline.evaluate(python_kernel("while True: os.write(1, b'x' * (1 << 20))"))
    assert verdict.status is Status.TIMEOUT
    assert time.monotonic() - begin < pipeline.settings.run_timeout + 1.0
    assert verdict.diagnosis is not None
    assert verdict.diagnosis.details.endswith("x")


def test_a_candidate_cannot_fill_a_file_beyond_its_memory(pipeline: Pipeline) -> None:
    # Seeking makes the file sparse: nothing is written before the limit is hit.
    verdict = pipeline.evaluate(python_kernel("f = os.open('f', 66, 384); os.pwrite(f, b'x', 3 << 30); return x"))
    assert verdict.status in {Status.RUNTIME_ERROR, Status.CRASHED}


def _lanes(x: torch.Tensor, lanes: int) -> torch.Tensor:
    """Sums over the last dimension with so many float32 accumulators, as a vectorised loop does it."""
    sums = torch.zeros(*x.shape[:-1], lanes)
    for part in x.split(lanes, dim=-1):
        sums += part
    return sums.sum(-1)


@pytest.mark.parametrize("lanes", [16, 64])
def test_sums_in_another_order_pass_where_their_terms_cancel(lanes: int) -> None:
    x = torch.randn(128, 1 << 16, generator=torch.Generator().manual_seed(0))
    assert compare(_lanes(x, lanes), x.sum(-1), x.double().sum(-1), Tolerance(), "sum") is None
    y = x.reshape(-1)
    mean = compare(_lanes(y.reshape(1, -1), 1 << 12)[0] / y.numel(), y.mean(), y.double().mean(), Tolerance(), "mean")
    assert mean is None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sixteen_bit_results_are_not_judged_by_the_element_bound_alone(dtype: torch.dtype) -> None:
    exact = torch.randn(4096, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 1e-3
    native = exact.to(dtype)
    assert compare(native.clone(), native, exact, Tolerance(), "y") is None
    assert compare(native * 1.2, native, exact, Tolerance(), "y") is not None
