"""Traits of a schedule follow what it does."""

from __future__ import annotations

import torch
from torch import nn

from kernelevolve.core.task import Task
from kernelevolve.synthesis.builtin.cpp.limits import CpuLimits
from kernelevolve.synthesis.traced.trace import trace
from tests.synthesis.rendering import written

ROWS, COLUMNS = 64, 256
TASK = Task(
    name="task",
    source=f"""import torch
from torch import nn


class Model(nn.Module):
    def forward(self, x):
        return torch.softmax(torch.nn.functional.gelu(x), -1)


def get_inputs():
    return [torch.randn({ROWS}, {COLUMNS})]


def get_init_inputs():
    return []
""",
)


class _Model(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.softmax(torch.nn.functional.gelu(x), -1)


def test_a_fused_row_reduction_passes_memory_once() -> None:
    program = trace(_Model(), [torch.randn(ROWS, COLUMNS)])
    default = written(program, CpuLimits.of({}), TASK, ())
    size = ROWS * COLUMNS * 4
    assert default.traits["passes"] == 1
    assert default.traits["traffic_bytes"] == 2 * size, "the input once, the result once"
    assert default.traits["fusion"] >= 2
    [rows] = [name for name in default.space if name.endswith(".rows")]
    single = written(program, CpuLimits.of({}), TASK, ((rows, 1),))
    assert single.kernel.id != default.kernel.id
    assert single.traits["portion_bytes"] == 2 * size / ROWS
    larger = written(program, CpuLimits.of({}), TASK, ((rows, 16),))
    assert larger.traits["portion_bytes"] == 16 * single.traits["portion_bytes"]
    splits = [name for name in default.space if name.startswith("split.")]
    assert splits
    for name in splits:
        apart = written(program, CpuLimits.of({}), TASK, ((name, True),))
        assert apart.traits["passes"] == 2
        assert apart.traits["traffic_bytes"] >= 4 * size, "what lies between is written and read again"
        assert apart.traits["fusion"] < default.traits["fusion"]
