"""Kernels that turn against the evaluator itself: each gets a verdict, none an exception, none harms the next."""

from __future__ import annotations

import time

import pytest
import torch

from evaluators.correctness import compare
from evaluators.pipeline import Pipeline
from kernelevolve.core.evaluation import Status
from kernelevolve.core.task import Tolerance

from .conftest import python_kernel

RIGHT = "torch.nn.functional.silu(x) * y * self.scale"
IN_TIMING = "self.n = getattr(self, 'n', 0) + (not os.path.exists('case0.out0'))\n        if self.n > 2: "


def forged(text: str) -> str:
    return f"open('result.json', 'w').write({text!r}); os._exit(0)"


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[]",
        "nonsense",
        '{"cases": 5}',
        '{"cases": [{"case": "case0"}]}',
        '{"failure": {"status": "ok", "summary": "", "details": ""}}',
        '{"failure": {"status": "x"}}',
    ],
)
def test_a_forged_result_is_a_crash(pipeline: Pipeline, text: str) -> None:
    assert pipeline.evaluate(python_kernel(forged(text))).status is Status.CRASHED


@pytest.mark.parametrize("text", ["{}", '{"samples": 1}', '{"samples": {"reference": [1], "kernel": [1]}}'])
def test_a_forged_timing_is_a_crash(pipeline: Pipeline, text: str) -> None:
    verdict = pipeline.evaluate(python_kernel(f"{IN_TIMING}{forged(text)}\n        return {RIGHT}"))
    assert verdict.status is Status.CRASHED
    assert verdict.diagnosis is not None
    assert verdict.diagnosis.stage == "timing"


def test_times_longer_than_the_run_are_cheating(pipeline: Pipeline) -> None:
    write = (
        "from evaluators import tensors; from pathlib import Path; import json; "
        f"out = tensors.save({RIGHT}, Path('case0.out0')); "
        "told = {'samples': {'reference': [99.0], 'kernel': [1e-9]}, "
        "'cases': [{'case': 'case0', 'out': [out], 'structure': 'tensor'}]}; "
        "open('result.json', 'w').write(json.dumps(told)); os._exit(0)"
    )
    verdict = pipeline.evaluate(python_kernel(f"{IN_TIMING}\n            {write}\n        return {RIGHT}"))
    assert verdict.status is Status.CHEATING, verdict.diagnosis


def test_a_link_in_place_of_an_output_is_replaced(pipeline: Pipeline) -> None:
    answers = pipeline.reference().answers
    before = (answers / "case0.native0").read_bytes()
    link = f"os.path.lexists('case0.out0') or os.symlink({str(answers / 'case0.native0')!r}, 'case0.out0')"
    assert pipeline.evaluate(python_kernel(f"{link}; return x")).status is Status.WRONG_RESULT
    assert (answers / "case0.native0").read_bytes() == before


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
