"""What a call changes is part of its answer: buffers of modules, and inputs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from kernelevolve.core.task import AllowAten
from tests.synthesis.rendering import render

from .conftest import THIS, Check, load, task_of, traced

NORMS = {
    "batch norm": "nn.BatchNorm2d(6), nn.BatchNorm2d(6, momentum=0.3, affine=False)",
    "without statistics": "nn.BatchNorm2d(6, track_running_stats=False), nn.InstanceNorm2d(6), nn.InstanceNorm2d(6, affine=True), "
    "nn.InstanceNorm2d(6, track_running_stats=True)",
    "groups": "nn.GroupNorm(3, 6), nn.GroupNorm(1, 6, affine=False), nn.GroupNorm(6, 6), nn.BatchNorm2d(6).eval()",
}


@pytest.mark.parametrize("layers", NORMS.values(), ids=NORMS)
def test_norms_leave_their_statistics_as_pytorch_does(check: Check, layers: str) -> None:
    init = f"self.layers = nn.ModuleList([{layers}])"
    variants = '{"a": [torch.randn(3, 6, 9, 4) + 2]}'
    inputs = "[torch.randn(2, 6, 5, 7) * 3 + 1]"
    check(task_of("return [layer(x[0]) for layer in self.layers]", inputs, init, variants))


def test_norms_of_rows_and_in_double_precision(check: Check) -> None:
    init = "self.a, self.b = nn.BatchNorm1d(10), nn.BatchNorm1d(10).double()"
    check(task_of("return self.a(x[0]), self.b(x[0].double())", "[torch.randn(8, 10)]", init))


def test_evaluation_mode_takes_the_statistics_that_calls_have_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = task_of("return self.n(x[0]).relu()", "[torch.randn(6, 5, 4)]", "self.n = nn.BatchNorm1d(5)")
    model = load(render(traced(task), THIS, task, ())[0], tmp_path, monkeypatch).ModelNew()
    reference, x = torch.nn.BatchNorm1d(5), torch.randn(6, 5, 4) * 3 + 1
    for training in (True, True, False, True):
        model.train(training)
        torch.testing.assert_close(model(x), reference.train(training)(x).relu())


def test_any_buffer_that_a_call_changes(check: Check) -> None:
    init = "self.register_buffer('seen', torch.zeros(4)); self.register_buffer('calls', torch.tensor(0))"
    forward = "self.calls += 1; self.seen.mul_(0.5).add_(x[0].sum(0)); return x[0] * self.calls + self.seen"
    check(task_of(forward, "[torch.randn(5, 4)]", init))


def test_inputs_that_a_call_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = task_of("y = x[0] * 2; x[0].add_(x[1]); x[1][:, 1:] = 0; return y", "[torch.randn(5, 4), torch.randn(5, 4)]")
    model = load(render(traced(task), THIS, task, ())[0], tmp_path, monkeypatch).ModelNew()
    x = [torch.ones(5, 4), torch.ones(4, 5).t()]
    y = model(*x)
    assert torch.equal(y, torch.full((5, 4), 2.0))
    assert torch.equal(x[0], y)
    assert torch.equal(x[1], torch.eye(4)[0].expand(5, 4))


@pytest.mark.parametrize("allow", [AllowAten.ALL, AllowAten.NONE])
def test_buffers_whose_names_python_has_no_syntax_for(check: Check, allow: AllowAten) -> None:
    init = "self.register_buffer('2nd', torch.zeros(4)); self.part = nn.Module(); self.part.register_buffer('a b', torch.ones(4))"
    forward = (
        "self._buffers['2nd'].add_(x[0].sum(0)); self.part._buffers['a b'].mul_(2); return x[0] + self._buffers['2nd']"
    )
    check(task_of(forward, "[torch.randn(5, 4)]", init).model_copy(update={"allow_aten": allow}))
