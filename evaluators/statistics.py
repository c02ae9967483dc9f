"""From paired times to a ratio with an interval."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kernelevolve.core.evaluation import Measurement, Ratio

_RESAMPLES = 1000


def ratio_interval(reference: Sequence[float], kernel: Sequence[float], seed: int, confidence: float = 0.95) -> Ratio:
    """Median of the paired ratios reference / kernel, with a percentile bootstrap interval over the pairs."""
    logs = np.log(np.asarray(reference, dtype=float)) - np.log(np.asarray(kernel, dtype=float))
    rng = np.random.default_rng(seed)
    picks = rng.integers(0, len(logs), size=(_RESAMPLES, len(logs)))
    medians = np.median(logs[picks], axis=1)
    tail = (1 - confidence) / 2
    low, high = np.quantile(medians, [tail, 1 - tail])
    value = float(np.median(logs))
    return Ratio(
        value=float(np.exp(value)),
        low=float(np.exp(min(low, value))),
        high=float(np.exp(max(high, value))),
        confidence=confidence,
    )


def measurement(reference: Sequence[float], kernel: Sequence[float], seed: int) -> Measurement:
    """From seconds per call, in pairs."""
    return Measurement(
        speedup=ratio_interval(reference, kernel, seed),
        reference_seconds=float(np.median(reference)),
        kernel_seconds=float(np.median(kernel)),
        rounds=len(kernel),
    )
