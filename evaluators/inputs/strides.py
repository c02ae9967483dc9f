"""Tensors whose elements lie in memory in another way than one after the other."""

from __future__ import annotations

import torch


def restrided(x: torch.Tensor) -> torch.Tensor:
    """The same elements: the last two dimensions transposed in memory; where there is one alone, every other place is left free.

    Behind the beginning of its storage in any case, so that one who reads from there reads something else.
    """
    wide = [d for d, size in enumerate(x.shape) if size > 1]
    if not wide:
        return x
    if len(wide) == 1:
        d = wide[0]
        spread = x.new_zeros([2 * s if i == d else s for i, s in enumerate(x.shape)])
        made = spread[tuple(slice(1, None, 2) if i == d else slice(None) for i in range(x.dim()))]
    else:
        a, b = wide[-2:]
        turned = x.transpose(a, b)
        made = x.new_zeros(turned.numel() + 1)[1:].view(turned.shape).transpose(a, b)
    made.copy_(x)
    return made
