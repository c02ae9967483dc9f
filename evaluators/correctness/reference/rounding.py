"""Runs of a reference in float64 in which every operation is rounded to the working precision, in another way each time.

Monte Carlo arithmetic (Parker, Pierce and Eggert 2000, "Monte Carlo arithmetic: how to gamble with floating point and win"): how far the
results lie apart is how far rounding may move them, at steps and where terms cancel too. Only what is inexact is moved: a value that the
working precision holds exactly stays, so that copies, comparisons, whole numbers and sums of them are what they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

import torch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

_NOISE = 1 << 16
"""Random numbers that are used over and over, from another place for each operation."""
_SUMS = frozenset(
    {
        *(
            "sum",
            "mean",
            "var",
            "std",
            "var_mean",
            "std_mean",
            "norm",
            "linalg_vector_norm",
            "prod",
            "cumsum",
            "logsumexp",
        ),
        *("mm", "bmm", "addmm", "baddbmm", "addmv", "mv", "dot", "vdot", "convolution", "_trilinear", "_cdist_forward"),
        *("scatter_add", "scatter_add_", "index_add", "index_add_", "scatter_reduce", "index_put", "index_put_"),
        *("_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_attention_math", "_embedding_bag"),
        *("mkldnn_rnn_layer", "avg_pool1d", "avg_pool2d", "avg_pool3d", "_adaptive_avg_pool2d", "_adaptive_avg_pool3d"),
    }
)
"""ATen operations whose rounding errors are those of the terms of a sum, not of what is left of it."""


class Direction(StrEnum):
    """Which way inexact results go."""

    UP = "up"
    DOWN = "down"
    RANDOM = "random"


class Rounding(TorchDispatchMode):  # type: ignore[misc]
    """Within it float64 results of ATen operations hold what `working` can hold, up to a unit in the last place away, sums a bit more."""

    def __init__(self, working: torch.dtype, direction: Direction, generator: torch.Generator) -> None:
        super().__init__()
        self._working = working
        self._eps = torch.finfo(working).eps
        self._direction = direction
        self._generator = generator
        self._noise = torch.empty(0, dtype=torch.float64)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Else its first use imports torch._dynamo.
        return False

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            summed = func._schema.name.removeprefix("aten::") in _SUMS
            for each in pytree.tree_leaves(result):
                if isinstance(each, torch.Tensor) and each.dtype is torch.float64 and each.numel():
                    self._round(each, summed=summed)
        return result

    def _round(self, result: torch.Tensor, *, summed: bool) -> None:
        nearest = result.to(self._working).to(torch.float64)
        inexact = (nearest != result) & ~result.isnan()
        if not bool(inexact.any()):
            return
        size = result.abs()
        if summed:
            finite = size[size.isfinite()]
            size = size + (finite.square().mean().sqrt() if finite.numel() else 0.0)
        moved = result + size.mul_(self._eps) * self._ways(result)
        result.copy_(torch.where(inexact, moved.to(self._working).to(torch.float64), result))

    def _ways(self, result: torch.Tensor) -> torch.Tensor | float:
        """Between -1 and 1."""
        match self._direction:
            case Direction.UP:
                return 1.0
            case Direction.DOWN:
                return -1.0
            case Direction.RANDOM:
                if not self._noise.numel():
                    self._noise = torch.rand(_NOISE, generator=self._generator, dtype=torch.float64) * 2 - 1
                start = int(torch.randint(_NOISE, (), generator=self._generator))
                turned = self._noise.roll(start)
                count = result.numel()
                return turned.repeat(-(-count // _NOISE))[:count].view(result.shape)
