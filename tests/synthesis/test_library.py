"""Operations that may be left to PyTorch's libraries: the same results either way, and never where the task forbids it."""

from __future__ import annotations

import pytest

from kernelevolve.core.task import AllowAten
from kernelevolve.synthesis.builtin.operator import render

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


def test_where_the_task_forbids_it_nothing_is_left_to_a_library() -> None:
    forbidden = TASK.model_copy(update={"allow_aten": AllowAten.NONE})
    kernel, space = render(traced(TASK), THIS, forbidden, ())
    assert not [name for name in space if name.startswith("library.")]
    assert "torch.convolution" not in kernel.source


def test_large_convolutions_are_left_to_the_library_and_small_products_are_not() -> None:
    task = task_of(
        "return self.l(self.c(x[0]))",
        "[torch.randn(4, 16, 32, 32)]",
        "self.c = nn.Conv2d(16, 32, 3); self.l = nn.Linear(30, 4)",
    )
    kernel, _ = render(traced(task), THIS, task, ())
    assert "torch.convolution" in kernel.source
    assert "torch.addmm" not in kernel.source
