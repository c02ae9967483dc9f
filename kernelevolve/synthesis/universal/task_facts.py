"""The facts about a task that prompts state besides its source: inputs, outputs, and the least traffic and work."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from kernelevolve.core.record import Record
from kernelevolve.core.task import Task
from kernelevolve.tasks.loading import build_model, draw_inputs, load_module


class TaskFacts(Record):
    """The facts about a task, for its main inputs."""

    inputs: tuple[str, ...]
    """One line for each argument of `forward`: its name, and its dtype and shape or its value."""
    outputs: tuple[str, ...]
    """One line for each output: name, dtype, shape."""
    weights: tuple[str, ...]
    """One line for each parameter and buffer: name, dtype, shape."""
    variants: tuple[str, ...]
    """One line for each further set of inputs."""
    least_bytes: int
    """The bytes of all inputs, weights and outputs, each of which must be read or written at least once."""
    flops: int
    """The floating-point operations of matrix products and convolutions; other arithmetic is not counted."""


def examine(task: Task) -> TaskFacts:
    """Run the reference of a task once and return its facts.

    Raises:
        UserError: The code of the task fails.
    """
    loaded = load_module(task)
    model = build_model(loaded, task.seed)
    inputs = draw_inputs(loaded, task.seed)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter, loaded.blamed("forward"):
        result = model(*inputs)
    names = list(inspect.signature(model.forward).parameters)
    held = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    outputs = list(_tensors([result]))
    moved = sum(t.numel() * t.element_size() for t in (*_tensors(inputs), *held.values(), *outputs))
    return TaskFacts(
        inputs=tuple(
            _described(names[i] if i < len(names) else f"argument {i}", value) for i, value in enumerate(inputs)
        ),
        outputs=tuple(_described(f"output {i}" if len(outputs) > 1 else "output", t) for i, t in enumerate(outputs)),
        weights=tuple(_described(name, value) for name, value in held.items()),
        variants=tuple(
            f"{name}: {', '.join(_described('', value).strip(': ') for value in values)}"
            for name, values in loaded.get_input_variants().items()
        ),
        least_bytes=moved,
        flops=int(counter.get_total_flops()),
    )


def _described(name: str, value: Any) -> str:
    if not isinstance(value, torch.Tensor):
        return f"{name}: {value!r:.60}"
    strides = "" if value.is_contiguous() else f", strides {list(value.stride())}"
    return f"{name}: {str(value.dtype).removeprefix('torch.')} {list(value.shape)}{strides}"


def _tensors(values: Sequence[Any]) -> Iterator[torch.Tensor]:
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(value)
