"""Whether results follow from the inputs at all: those of different inputs differ somewhere."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from evaluators.runtime.tensors import same_bits

_LOOKED_AT = 1 << 16
"""Elements of a result, spread over it."""


class Sameness:
    """Of results for different inputs, added one after the other."""

    def __init__(self) -> None:
        self.count = 0
        """Sets of inputs that gave results of the first one's shapes."""
        self._first: list[torch.Tensor] = []
        self._shapes: list[torch.Size] = []
        self._differ = False

    def add(self, results: Sequence[torch.Tensor]) -> None:
        """Results for one set of inputs; those of other shapes than the first ones say nothing."""
        shapes = [t.shape for t in results]
        if self.count == 0:
            self._shapes, self._first = shapes, [_sample(t) for t in results]
        elif shapes != self._shapes:
            return
        self.count += 1
        self._differ |= not all(same_bits(a, _sample(b)) for a, b in zip(self._first, results, strict=True))

    @property
    def same(self) -> bool:
        """All results were equal, bit by bit, and there were several."""
        return self.count > 1 and not self._differ


def _sample(result: torch.Tensor) -> torch.Tensor:
    flat = result.reshape(-1)
    return flat[:: max(1, flat.numel() // _LOOKED_AT)].clone()
