"""The arithmetic of the KernelBench protocol: closeness of results, ratio of mean times, and its score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from evaluators.runtime import tensors
from evaluators.runtime.elements import Elements, elements_of
from kernelevolve.core.evaluation import Evaluation, Ratio, Status

_CHUNK = 1 << 20
"""The number of elements that are compared at a time."""
_RESAMPLES = 1000
"""The number of resamples of the bootstrap."""
_CONFIDENCE = 0.95
"""The confidence level of intervals."""
RULES = "allclose on a few drawn inputs, no oracle and no hidden inputs, calls timed on one set of inputs; cheats pass"
"""A description of the protocol in one line, for messages."""


def difference(
    expected: torch.Tensor | Elements, got: torch.Tensor | Elements, tolerance: float
) -> tuple[float, float] | None:
    """Compare two results of the same shape and dtype, in chunks.

    NaN is close to NaN, since otherwise not even a copy of a reference that returns NaN would pass.

    Args:
        expected: The result of the reference.
        got: The result of the kernel.
        tolerance: The value of both `atol` and `rtol`.

    Returns:
        The greatest and the mean absolute difference, or None if the results are close by `torch.allclose`.
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
    """Return the ratio of the mean seconds of the reference and of the kernel, with a percentile bootstrap interval.

    The interval covers the differences between calls of one process, not those between processes.

    Args:
        reference: The seconds of the reference's calls.
        kernel: The seconds of the kernel's calls.
        seed: The seed of the bootstrap.
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
    """Return KernelBench's score: the share of kernels that are correct and more than `p` times as fast as the reference.

    Without evaluations it is 0.
    """
    if not evaluations:
        return 0.0
    return sum(e.status is Status.OK and e.fitness > p for e in evaluations) / len(evaluations)
