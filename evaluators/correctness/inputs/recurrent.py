"""Recurrences of `torch.nn` without their steps: for what is asked of shapes alone, all steps are as good as one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_NAMES = ("gru", "lstm", "rnn_tanh", "rnn_relu")
_ARGUMENTS = 9
"""Of a recurrence on padded inputs; one on packed sequences begins otherwise."""


class Unstepped(TorchFunctionMode):  # type: ignore[misc]
    """Within it, what `nn.GRU`, `nn.LSTM` and `nn.RNN` compute is two products of the right shape; their numbers mean nothing.

    Free is what taking the steps one by one leaves free: the batch. The number of steps is fixed, and so are the sizes of weights.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        padded = len(args) == _ARGUMENTS and isinstance(args[2], list | tuple) and not kwargs
        if padded and name in _NAMES and func == getattr(torch._VF, name):
            return _products(*args)
        return func(*args, **(kwargs or {}))


def _products(
    x: torch.Tensor,
    first: torch.Tensor | Sequence[torch.Tensor],
    weights: Sequence[torch.Tensor],
    biased: bool,
    layers: int,
    dropout: float,
    train: bool,
    both_ways: bool,
    batch_first: bool,
) -> tuple[torch.Tensor, ...]:
    """As `torch.gru` and its like take their arguments: x of shape (steps, batch, features), states of (layers * ways, batch, hidden).

    No operation takes a number: what follows would have it for a size that the model names.
    """
    del biased, dropout, train
    states = [first] if isinstance(first, torch.Tensor) else list(first)
    batch = 0 if batch_first else 1
    int(x.shape[1 - batch])  # A size that is made a plain number is fixed.
    for state in states:
        torch._check(state.shape[0] == layers * (1 + both_ways))
        torch._check(state.shape[1] == x.shape[batch])
    out = x @ weights[0].t() @ weights[1]
    return (torch.cat([out, out], dim=-1) if both_ways else out, *(state.clone() for state in states))
