"""What is wrong with a tensor, in words that point at the mistake."""

from __future__ import annotations

import torch

_MOST = 1 << 22


def pattern(got: torch.Tensor, want: torch.Tensor) -> str:
    """One sentence, empty where nothing fits. Looks at the first few million elements."""
    if not got.numel():
        return ""
    y, w = got.reshape(-1)[:_MOST].double(), want.reshape(-1)[:_MOST].double()
    if bool((y == 0).all()):
        return "All elements are zero."
    if bool(torch.isnan(y).all()):
        return "All elements are NaN."
    if y.numel() > 1 and bool((y == y[0]).all()):
        return f"All elements are {y[0].item():.6g}."
    bad = ~torch.isclose(y, w, rtol=1e-3, atol=1e-5, equal_nan=True)
    if not bool(bad.any()):
        return "The deviation is small everywhere: a lower precision inside, or a crude approximation?"
    usable = bad & torch.isfinite(y) & torch.isfinite(w) & (w != 0)
    if int(usable.sum()) == int(bad.sum()) > 1:
        factors = y[usable] / w[usable]
        factor = factors.median()
        if factor != 0 and bool(torch.isclose(factors, factor, rtol=1e-3).all()):
            return f"Wrong elements are off by the factor {factor.item():.6g}."
    if got.dim() >= 1 and got.numel() <= _MOST:
        return _where(bad.reshape(got.shape))
    return ""


def _where(bad: torch.Tensor) -> str:
    for dim in range(bad.dim()):
        others = [d for d in range(bad.dim()) if d != dim]
        hit = bad.any(dim=others) if others else bad
        places = hit.nonzero().reshape(-1)
        count, length = int(places.numel()), bad.shape[dim]
        if count in (0, length):
            continue
        first = int(places[0])
        if count == length - first:
            return f"Wrong from index {first} on in dimension {dim} (of {length}): a tail?"
        steps = places.diff().unique()
        if count > 2 and steps.numel() == 1:
            return f"Every {int(steps[0])}th index of dimension {dim} is wrong, from {first} on."
        return f"{count} of {length} indices of dimension {dim} are wrong, the first is {first}."
    return ""
