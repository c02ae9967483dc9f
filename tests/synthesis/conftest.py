"""Builds what the built-in operator writes, and runs it beside the reference."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from devices.base import CompileFailure
from kernelevolve.core.kernel import Kernel, KnobValue
from kernelevolve.core.task import Task
from kernelevolve.synthesis.builtin.cpp.limits import CpuLimits
from kernelevolve.synthesis.builtin.knobs import Knob
from kernelevolve.synthesis.builtin.tracing import trace_task
from kernelevolve.synthesis.traced.program import Program
from kernelevolve.tasks.loading import build_model, draw_inputs, load_module
from tests.devices.here import compiled, this_machine
from tests.synthesis.rendering import render


def task_of(forward: str, inputs: str, init: str = "pass", variants: str = "{}") -> Task:
    """A task from the body of forward(self, *x), the expression of its inputs, the body of its constructor."""
    source = f'''"""A test."""

import torch
import torch.nn.functional as F
from torch import nn


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        {init}

    def forward(self, *x):
        {forward}


def get_inputs():
    return {inputs}


def get_init_inputs():
    return []


def get_input_variants():
    return {variants}
'''
    return Task(name="test", source=source)


def load(kernel: Kernel, folder: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    made = compiled(kernel, folder)
    assert not isinstance(made, CompileFailure), made.details
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    module = ModuleType(f"kernel_{kernel.id}")
    sys.modules[module.__name__] = module
    exec(compile(kernel.source, "kernel.py", "exec"), module.__dict__)
    return module


def agree(task: Task, module: ModuleType, rtol: float = 2e-4, atol: float = 2e-5, double: bool = False) -> None:
    """The module's model returns what the reference returns, for every variant, and leaves its buffers as it does; whole numbers and
    truth values exactly.

    ``double``: what the reference returns in float64, for what PyTorch itself gets wrong in float32 on some machines.
    """
    loaded = load_module(task)
    reference = build_model(loaded, task.seed)
    torch.manual_seed(task.seed)
    candidate = module.ModelNew(*loaded.get_init_inputs())
    with torch.no_grad():
        for variant in (None, *loaded.get_input_variants()):
            for seed in (3, 4):
                x = draw_inputs(loaded, seed, variant)
                want, got = reference(*(v.double() for v in x) if double else x), candidate(*x)
                assert type(want) is type(got)
                for a, b in zip(flat(want), flat(got), strict=True):
                    coarse = 2e-2 if a.dtype is torch.bfloat16 else 0.0
                    exact = a.to(b.dtype) if double else a
                    if not a.is_floating_point() and not a.is_complex():
                        assert torch.equal(a, b), (a, b)
                        assert b.dtype is not torch.bool or b.numpy().view("uint8").max(initial=0) <= 1
                        continue
                    torch.testing.assert_close(b, exact, rtol=max(rtol, coarse), atol=max(atol, coarse), equal_nan=True)
    for (name, a), (_, b) in zip(reference.named_buffers(), candidate.named_buffers(), strict=True):
        torch.testing.assert_close(b, a, msg=name)


def flat(result: Any) -> list[torch.Tensor]:
    return list(result) if isinstance(result, tuple | list) else [result]


Check = Callable[..., dict[str, Knob]]

THIS = CpuLimits.of(this_machine().facts)


@lru_cache(maxsize=4)
def traced(task: Task) -> Program:
    """One trace serves every kernel that a test renders from it."""
    program = trace_task(task)
    assert isinstance(program, Program), program
    return program


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Check:
    """check(task, knobs): the kernel at that point agrees with the reference on every input; returns the space around it."""

    def run(
        task: Task,
        knobs: dict[str, KnobValue] | None = None,
        rtol: float = 2e-4,
        atol: float = 2e-5,
        limits: CpuLimits = THIS,
        double: bool = False,
    ) -> dict[str, Knob]:
        kernel, space = render(traced(task), limits, task, tuple(sorted((knobs or {}).items())))
        module = load(kernel, tmp_path, monkeypatch)
        agree(task, module, rtol, atol, double)
        return dict(space)

    return run
