"""The integers that a model was built with. A size that equals one of them may be fixed by the model rather than free."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True)
class ModelNumbers:
    """The integers above 1 of a model, by where they were found."""

    told: frozenset[int] = frozenset()
    """The integers among the constructor's arguments (including lengths of lists) and the attributes of modules, and the sizes that
    indices in integer buffers may refer to."""
    shapes: frozenset[int] = frozenset()
    """The sizes of the dimensions of parameters and buffers. Where forward needs an input to match them, torch.export fixes its size."""


def model_numbers(model: nn.Module, arguments: Sequence[Any]) -> ModelNumbers:
    """Return the integers of a model.

    Args:
        model: The model.
        arguments: The arguments of its constructor.
    """
    tensors = [*model.parameters(), *model.buffers()]
    for module in model.modules():
        tensors += [x for x in vars(module).values() if isinstance(x, torch.Tensor)]
    numbers = [*_of_arguments(arguments), *_of_modules(model), *_counted(tensors)]
    shapes = [size for tensor in tensors for size in tensor.shape if size > 1]
    return ModelNumbers(frozenset(numbers), frozenset(shapes))


def _of_arguments(values: Sequence[Any]) -> Iterator[int]:
    for value in values:
        if _is_whole(value):
            yield value
        elif isinstance(value, list | tuple):
            yield len(value)
            yield from _of_arguments(value)
        elif isinstance(value, dict):
            yield len(value)
            yield from _of_arguments(list(value.values()))
        elif isinstance(value, torch.Tensor):
            yield from value.shape


def _of_modules(model: nn.Module) -> Iterator[int]:
    for module in model.modules():
        for value in vars(module).values():
            if _is_whole(value):
                yield value
            elif isinstance(value, list | tuple) and all(_is_whole(v) for v in value):
                yield len(value)
                yield from value


def _counted(tensors: Sequence[torch.Tensor]) -> Iterator[int]:
    for tensor in tensors:
        if not (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool) and tensor.numel() > 1:
            last = int(tensor.max())
            # The buffer may hold indices into a dimension, or into one that was extended or shortened by one before.
            yield from (last, last + 1, last + 2)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 1
