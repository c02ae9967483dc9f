"""Conversion of tensors of dtypes with few PyTorch operations to wider dtypes, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

_WIDER = {torch.uint16: torch.int32, torch.uint32: torch.int64}


def widened(x: Any) -> Any:
    """Return a tensor in a dtype that PyTorch operations support; return anything else unchanged."""
    if not isinstance(x, torch.Tensor):
        return x
    if x.dtype in _WIDER:
        return x.to(_WIDER[x.dtype])
    if x.dtype is torch.uint64:
        return x.view(torch.int64)
    return x.float() if _narrow(x) else x


def restored(x: Any, like: Any) -> Any:
    """Return the inverse of `widened`.

    Args:
        x: A widened tensor, which may have another shape than `like`.
        like: A tensor of the original dtype.
    """
    if not isinstance(like, torch.Tensor) or x.dtype is like.dtype:
        return x
    return x.view(torch.uint64) if like.dtype is torch.uint64 else x.to(like.dtype)


def unchanging(inputs: Sequence[Any]) -> dict[int, str]:
    """Return the inputs whose values must stay as drawn because of their dtype: the index of an input -> the reason."""
    reasons = {}
    for i, x in enumerate(inputs):
        if isinstance(x, torch.Tensor) and (x.is_complex() or _narrow(x) or x.dtype is torch.uint64):
            reasons[i] = f"it is of {x.dtype}"
    return reasons


def _narrow(x: torch.Tensor) -> bool:
    return bool(x.dtype.is_floating_point) and x.itemsize == 1
