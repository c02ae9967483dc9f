"""Whole numbers that a model was built with: a size that equals one of them may be a setting rather than a free size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn


def model_numbers(model: nn.Module, arguments: Sequence[Any]) -> frozenset[int]:
    """Numbers among the constructor's arguments (the length of a list too), whole attributes of the modules, the dimensions
    of parameters and buffers, and what the indices in whole-numbered buffers count up to."""
    return frozenset(_of_arguments(arguments)) | frozenset(_of_modules(model)) | frozenset(_of_tensors(model))


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
            elif isinstance(value, torch.Tensor):
                yield from _of_tensor(value)


def _of_tensors(model: nn.Module) -> Iterator[int]:
    for tensor in [*model.parameters(), *model.buffers()]:
        yield from _of_tensor(tensor)


def _of_tensor(tensor: torch.Tensor) -> Iterator[int]:
    yield from tensor.shape
    if not tensor.is_floating_point() and tensor.dtype != torch.bool and tensor.numel() > 1:
        last = int(tensor.max())
        # Indices into a dimension, or into one that was lengthened or shortened by one before.
        yield from (last, last + 1, last + 2)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 1
