"""Operations that may be left to PyTorch's libraries: the same results either way, and never where the task forbids it."""

from __future__ import annotations

import pytest

from kernelevolve.core.task import AllowAten
from tests.synthesis.rendering import render

from .conftest import THIS, Check, task_of, traced

TASK = task_of(
    "y = F.relu(self.c(x[0])) + 1; z = self.t(y).tanh(); "
    "return self.l(z.flatten(2)).relu(), z.flatten(2) @ (x[1] @ self.m).transpose(1, 2) * 2",
    "[torch.randn(2, 3, 6, 7), torch.randn(2, 4, 168)]",
    "self.c = nn.Conv2d(3, 8, 3, padding=1); self.t = nn.ConvTranspose2d(8, 5, 2, stride=2, bias=False); "
    "self.l = nn.Linear(168, 9); self.m = nn.Parameter(torch.randn(168, 168))",
    variants='{"a": [torch.randn(3, 3, 6, 7), torch.randn(3, 6, 168)]}',
)


def _libraries() -> list[str]:
    return [name for name in render(traced(TASK), THIS, TASK, ())[1] if name.startswith("library.")]


@pytest.mark.parametrize("left", [True, False])
def test_results_are_the_same_whoever_computes_them(check: Check, left: bool) -> None:
    names = _libraries()
    assert len(names) == 5
    check(TASK, dict.fromkeys(names, left))


@pytest.mark.parametrize(
    ("body", "inputs"),
    [
        ("return x[0] @ x[1]", "[torch.randn(2, 3, 4, 5), torch.randn(2, 3, 5, 6)]"),
        ("return F.scaled_dot_product_attention(*x)", "[torch.randn(2, 3, 5, 4) for _ in range(3)]"),
        ("return self.l(x[0])", "[torch.randn(2, 3, 4, 5)]"),
        ("return F.conv2d(x[0], self.l.weight[None, None])", "[torch.randn(3, 1, 8, 9)]"),
        ("return F.conv2d(x[0], self.l.weight[None, None])", "[torch.randn(1, 8, 9)]"),
    ],
)
def test_what_a_library_makes_has_the_shape_of_the_result(check: Check, body: str, inputs: str) -> None:
    task = task_of(body, inputs, "self.l = nn.Linear(5, 6)")
    names = [name for name in render(traced(task), THIS, task, ())[1] if name.startswith("library.")]
    assert names
    check(task, dict.fromkeys(names, True))


def test_where_the_task_forbids_it_nothing_is_left_to_a_library() -> None:
    forbidden = TASK.model_copy(update={"allow_aten": AllowAten.NONE})
    kernel, space = render(traced(TASK), THIS, forbidden, ())
    assert not [name for name in space if name.startswith("library.")]
    assert "torch.convolution" not in kernel.source


@pytest.mark.parametrize(
    ("layer", "inputs", "left"),
    [
        ("nn.Conv2d(16, 32, 3)", "[torch.randn(4, 16, 32, 32)]", True),
        ("nn.Conv2d(32, 32, 3, groups=32)", "[torch.randn(4, 32, 32, 32)]", False),
        ("nn.Conv1d(64, 64, 3)", "[torch.randn(16, 64, 200)]", False),
        ("nn.Linear(512, 512)", "[torch.randn(256, 512)]", False),
        ("nn.Linear(2048, 2048)", "[torch.randn(512, 2048)]", True),
    ],
)
def test_by_default_a_library_gets_what_it_gains_on(layer: str, inputs: str, left: bool) -> None:
    task = task_of("return F.relu(self.l(x[0]))", inputs, f"self.l = {layer}")
    kernel, _ = render(traced(task), THIS, task, ())
    assert any(call in kernel.source for call in ("torch.convolution", "torch.addmm", "torch.matmul")) is left
