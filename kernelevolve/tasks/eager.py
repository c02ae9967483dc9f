"""Code of tasks and kernels runs as it is written: what it has compiled by itself would need a compiler where it is judged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

compiled: Callable[..., Any] = torch.compile
"""PyTorch's own."""


_asked: list[bool] = []


def run_eagerly() -> None:
    """From now on `torch.compile` gives back what it is given, in this process."""
    torch.compile = _as_it_is


def made_eager() -> bool:
    """Whether code of this process has asked `torch.compile` for something since, and was given back what it gave."""
    return bool(_asked)


def _as_it_is(model: Any = None, **options: Any) -> Any:
    del options
    _asked[:] = [True]
    return model if model is not None else lambda function: function
