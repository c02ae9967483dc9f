"""Turning `torch.compile` off for the code of tasks and kernels, so that an evaluation needs no compiler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

compiled: Callable[..., Any] = torch.compile
"""PyTorch's own `torch.compile`."""


_asked: list[bool] = []
"""Non-empty once `torch.compile` was called after `run_eagerly`."""


def run_eagerly() -> None:
    """Make `torch.compile` return its argument unchanged, from now on in this process."""
    torch.compile = _unchanged


def made_eager() -> bool:
    """Return whether code of this process has called `torch.compile` since `run_eagerly`."""
    return bool(_asked)


def _unchanged(model: Any = None, **options: Any) -> Any:
    del options
    _asked[:] = [True]
    return model if model is not None else lambda function: function
