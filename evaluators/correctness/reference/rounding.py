"""A mode that rounds every operation in float64 to the working precision, up, down or at random.

This is Monte Carlo arithmetic (Parker, Pierce and Eggert 2000, "Monte Carlo arithmetic: how to gamble with floating point and win"): the
spread of the results of several such runs shows how far rounding may move a result, also at discontinuities and where terms cancel. Values
that the working precision represents exactly are not moved, so copies, comparisons, integers and sums of integers stay exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

import torch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

_NOISE = 1 << 16
"""The number of random numbers that are drawn. Every operation reuses them, rotated by a random offset."""
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
        *("_scaled_dot_product_flash_attention", "_scaled_dot_product_efficient_attention"),
        *("_scaled_dot_product_cudnn_attention", "_cudnn_rnn", "_thnn_fused_gru_cell", "_thnn_fused_lstm_cell"),
        *("mkldnn_rnn_layer", "avg_pool1d", "avg_pool2d", "avg_pool3d", "_adaptive_avg_pool2d", "_adaptive_avg_pool3d"),
    }
)
"""The ATen operations that sum, whose rounding error is relative to the terms and not to the result."""


class Direction(StrEnum):
    """The direction in which inexact results are rounded."""

    UP = "up"
    DOWN = "down"
    RANDOM = "random"


class Rounding(TorchDispatchMode):  # type: ignore[misc]
    """Rounds the float64 results of ATen operations to `working`, with an error of up to one unit in the last place, and more for sums."""

    def __init__(self, working: torch.dtype, direction: Direction, generator: torch.Generator) -> None:
        """Create a mode, to be used as a context manager.

        Args:
            working: The dtype to round to.
            direction: The direction of rounding.
            generator: The source of random numbers for `Direction.RANDOM`.
        """
        super().__init__()
        self._working = working
        self._eps = torch.finfo(working).eps
        self._direction = direction
        self._generator = generator
        self._noise = torch.empty(0, dtype=torch.float64)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Otherwise the first use of the mode imports torch._dynamo.
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
        moved = result + size.mul_(self._eps) * self._errors(result)
        result.copy_(torch.where(inexact, moved.to(self._working).to(torch.float64), result))

    def _errors(self, result: torch.Tensor) -> torch.Tensor | float:
        """Return the error of each element between -1 and 1, as a multiple of its rounding unit."""
        match self._direction:
            case Direction.UP:
                return 1.0
            case Direction.DOWN:
                return -1.0
            case Direction.RANDOM:
                if not self._noise.numel():
                    self._noise = torch.rand(_NOISE, generator=self._generator, dtype=torch.float64) * 2 - 1
                start = int(torch.randint(_NOISE, (), generator=self._generator))
                rotated = self._noise.roll(start).to(result.device)
                count = result.numel()
                return rotated.repeat(-(-count // _NOISE))[:count].view(result.shape)
