"""The arithmetic of KernelBench's rules: closeness of results, ratio of mean times, and its score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from evaluators.runtime import tensors
from evaluators.runtime.elements import Elements, elements_of
from kernelevolve.core.evaluation import Evaluation, Ratio, Status

_CHUNK = 1 << 20
_RESAMPLES = 1000
_CONFIDENCE = 0.95
RULES = "allclose on a few drawn inputs, no oracle and no hidden inputs, calls timed on one set of inputs; cheats pass"
"""In one line, for people."""


def difference(
    expected: torch.Tensor | Elements, got: torch.Tensor | Elements, tolerance: float
) -> tuple[float, float] | None:
    """(greatest, mean) absolute difference of two results of one shape and dtype; None where `torch.allclose` finds them close.

    Runs in chunks. NaN is close to NaN, else no copy of a reference that gives NaN would pass.
    """
    a, b = elements_of(expected), elements_of(got)
    close, most, total = True, 0.0, 0.0
    for start in range(0, a.numel, _CHUNK):
        x, y = (each.part(start, min(start + _CHUNK, a.numel)) for each in (a, b))
        close = close and (
            tensors.same_bits(x, y)
            if x.dtype is torch.bool
            else torch.allclose(x, y, tolerance, tolerance, equal_nan=True)
        )
        same = (x == y) | ((x != x) & (y != y))  # noqa: PLR0124 - NaN
        distance = (x.double() - y.double()).abs().masked_fill(same, 0.0)
        most = max(most, float(distance.nan_to_num(nan=float("inf")).max()))
        total += float(distance.sum())
    return None if close else (most, total / a.numel)


def ratio_of_means(reference: Sequence[float], kernel: Sequence[float], seed: int) -> Ratio:
    """Mean seconds of the reference / mean seconds of the kernel, with the percentile bootstrap's interval of both means.

    `seed`: of the bootstrap. The interval knows how calls of one process differ, not how processes do.
    """
    rng = np.random.default_rng(seed)

    def means(seconds: Sequence[float]) -> np.ndarray:
        values = np.asarray(seconds)
        return np.asarray(values[rng.integers(0, len(values), size=(_RESAMPLES, len(values)))].mean(axis=1))

    value = float(np.mean(reference) / np.mean(kernel))
    tail = (1 - _CONFIDENCE) / 2
    low, high = (float(edge) for edge in np.quantile(means(reference) / means(kernel), [tail, 1 - tail]))
    return Ratio(value=value, low=min(low, value), high=max(high, value), confidence=_CONFIDENCE)


def fast_p(evaluations: Sequence[Evaluation], p: float) -> float:
    """KernelBench's score: the share of kernels that are correct and more than `p` times as fast as the reference; 0 of none."""
    if not evaluations:
        return 0.0
    return sum(e.status is Status.OK and e.fitness > p for e in evaluations) / len(evaluations)
