"""Detection of references whose results do not depend on the inputs."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from evaluators.runtime.tensors import same_bits

_LOOKED_AT = 1 << 16
"""The number of elements, spread over a result, that are compared."""


class ConstantResults:
    """Compares the results for different inputs, which are added one set at a time."""

    def __init__(self) -> None:
        self.count = 0
        """The number of sets of inputs whose results have the shapes of the first set's results."""
        self._first: list[torch.Tensor] = []
        self._shapes: list[torch.Size] = []
        self._differ = False

    def add(self, results: Sequence[torch.Tensor]) -> None:
        """Add the results for one set of inputs; results of other shapes than the first ones are ignored."""
        shapes = [t.shape for t in results]
        if self.count == 0:
            self._shapes, self._first = shapes, [_sample(t) for t in results]
        elif shapes != self._shapes:
            return
        self.count += 1
        self._differ |= not all(same_bits(a, _sample(b)) for a, b in zip(self._first, results, strict=True))

    @property
    def same(self) -> bool:
        """Whether there were several sets of results, all equal bit by bit."""
        return self.count > 1 and not self._differ


def _sample(result: torch.Tensor) -> torch.Tensor:
    flat = result.reshape(-1)
    return flat[:: max(1, flat.numel() // _LOOKED_AT)].clone()
