"""Whole numbers that a model was built with: a size that equals one of them may be a setting rather than a free size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True)
class ModelNumbers:
    """Numbers above 1, by where they were found."""

    told: frozenset[int] = frozenset()
    """Among the constructor's arguments (the length of a list too), whole attributes of modules, and what the indices in
    whole-numbered buffers count up to."""
    shapes: frozenset[int] = frozenset()
    """The dimensions of parameters and buffers. Where forward needs an input to fit them, torch.export fixes its size."""


def model_numbers(model: nn.Module, arguments: Sequence[Any]) -> ModelNumbers:
    """Reads a model and the arguments of its constructor."""
    tensors = [*model.parameters(), *model.buffers()]
    for module in model.modules():
        tensors += [x for x in vars(module).values() if isinstance(x, torch.Tensor)]
    told = [*_of_arguments(arguments), *_of_modules(model), *_counted(tensors)]
    shapes = [size for tensor in tensors for size in tensor.shape if size > 1]
    return ModelNumbers(frozenset(told), frozenset(shapes))


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
            # Indices into a dimension, or into one that was lengthened or shortened by one before.
            yield from (last, last + 1, last + 2)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 1
