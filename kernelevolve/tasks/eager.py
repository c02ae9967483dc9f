"""Code of tasks and kernels runs as it is written: what it has compiled by itself would need a compiler where it is judged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

compiled: Callable[..., Any] = torch.compile
"""PyTorch's own."""


def run_eagerly() -> None:
    """From now on `torch.compile` gives back what it is given, in this process."""
    torch.compile = _as_it_is


def _as_it_is(model: Any = None, **options: Any) -> Any:
    del options
    return model if model is not None else lambda function: function
