"""Huber's estimate of location (Huber 1964, "Robust Estimation of a Location Parameter"): values far away move it little."""

from __future__ import annotations

import numpy as np

CORNER = 1.345
"""Standard deviations from which on a value counts no more:"""
EFFICIENCY = 0.95
"""the variance of the mean, as a share of that of the estimate, where all is normal."""
_LEAST_SCALE = 1e-9
_STEPS = 50


def huber(values: np.ndarray) -> tuple[float, float]:
    """(location, scale), the scale by the median absolute deviation."""
    middle = float(np.median(values))
    scale = max(1.4826 * float(np.median(np.abs(values - middle))), _LEAST_SCALE)
    for _ in range(_STEPS):
        scores = np.clip(values - middle, -CORNER * scale, CORNER * scale)
        step = float(scores.sum()) / max(1, int((np.abs(values - middle) <= CORNER * scale).sum()))
        middle += step
        if abs(step) < 1e-6 * scale:
            break
    return middle, scale
