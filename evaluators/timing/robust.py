"""Huber's estimate of location, which outliers move little (Huber 1964, "Robust Estimation of a Location Parameter")."""

from __future__ import annotations

import numpy as np

CORNER = 1.345
"""The distance from the location, in standard deviations, beyond which the influence of a value does not grow."""
EFFICIENCY = 0.95
"""The variance of the mean divided by that of the estimate, for normal values."""
_LEAST_SCALE = 1e-9
_STEPS = 50
"""The most iterations."""


def huber(values: np.ndarray) -> tuple[float, float]:
    """Return the location of values and their scale, which is estimated from the median absolute deviation."""
    middle = float(np.median(values))
    scale = max(1.4826 * float(np.median(np.abs(values - middle))), _LEAST_SCALE)
    for _ in range(_STEPS):
        scores = np.clip(values - middle, -CORNER * scale, CORNER * scale)
        step = float(scores.sum()) / max(1, int((np.abs(values - middle) <= CORNER * scale).sum()))
        middle += step
        if abs(step) < 1e-6 * scale:
            break
    return middle, scale
