"""Tensors of dtypes that PyTorch computes little with, as ones of a wider dtype from which they can be had again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

_WIDER = {torch.uint16: torch.int32, torch.uint32: torch.int64}


def stand_in(x: Any) -> Any:
    """A tensor of the same shape, to look at and to take elements from; anything else is as it was."""
    if not isinstance(x, torch.Tensor):
        return x
    if x.dtype in _WIDER:
        return x.to(_WIDER[x.dtype])
    if x.dtype is torch.uint64:
        return x.view(torch.int64)
    return x.float() if _narrow(x) else x


def restored(x: Any, like: Any) -> Any:
    """The inverse of `stand_in`, for a tensor that may have another shape than `like`."""
    if not isinstance(like, torch.Tensor) or x.dtype is like.dtype:
        return x
    return x.view(torch.uint64) if like.dtype is torch.uint64 else x.to(like.dtype)


def unchanging(inputs: Sequence[Any]) -> dict[int, str]:
    """Inputs whose values stay as drawn because of their dtype, and why."""
    found = {}
    for i, x in enumerate(inputs):
        if isinstance(x, torch.Tensor) and (x.is_complex() or _narrow(x) or x.dtype is torch.uint64):
            found[i] = f"it is of {x.dtype}"
    return found


def _narrow(x: torch.Tensor) -> bool:
    return bool(x.dtype.is_floating_point) and x.itemsize == 1
