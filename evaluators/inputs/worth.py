"""Whether PyTorch's own result on derived inputs is good enough to judge others by."""

from __future__ import annotations

import math

import torch

_CHUNK = 1 << 20


def worth_comparing(native: torch.Tensor, oracle: torch.Tensor) -> bool:
    """False where the working precision fails on these inputs, so that an honest kernel may fail differently.

    `native`: PyTorch's result in the working precision; `oracle`: the same in float64, of equal shape. For whole numbers and booleans
    always true. Else native is finite where the oracle is, and the same NaN or infinity elsewhere; some element is finite; and
    the relative RMS error of native is at most the square root of the unit of rounding (3.5e-4 for float32): half of its
    digits are right.
    """
    if native.shape != oracle.shape:
        return False
    if not native.is_floating_point() or native.numel() == 0:
        return True
    error = size = 0.0
    finite = 0
    for start in range(0, native.numel(), _CHUNK):
        n, o = (t.reshape(-1)[start : start + _CHUNK].double() for t in (native, oracle))
        kept = torch.isfinite(o)
        same = (n == o) | (torch.isnan(n) & torch.isnan(o))
        if not bool(torch.where(kept, torch.isfinite(n), same).all()):
            return False
        finite += int(kept.sum())
        o = torch.where(kept, o, 0.0)
        error += float((torch.where(kept, n, 0.0) - o).square().sum())
        size += float(o.square().sum())
    if not finite or not math.isfinite(error) or not math.isfinite(size):
        return False
    return math.sqrt(error) <= math.sqrt(torch.finfo(native.dtype).eps) * math.sqrt(size)
