"""A mode that replaces the recurrent layers of `torch.nn` by operations with the same shapes, for questions about shapes alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_NAMES = ("gru", "lstm", "rnn_tanh", "rnn_relu")
_ARGUMENTS = 9
"""The number of arguments of a recurrence on padded inputs. Recurrences on packed sequences take other arguments."""


class RecurrenceShapes(TorchFunctionMode):  # type: ignore[misc]
    """Replaces `nn.GRU`, `nn.LSTM` and `nn.RNN` by two matrix products of the right shapes; the values are meaningless.

    As with the original layers, torch.export leaves the batch size free and fixes the number of steps and the sizes of the weights.
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
    """Return results of the right shapes for a recurrence, given the arguments of `torch.gru` and the like.

    `x` has the shape (steps, batch, features) and the states (layers * directions, batch, hidden). No operation takes an integer
    argument, since it would be mistaken for a size that the model names.
    """
    del biased, dropout, train
    states = [first] if isinstance(first, torch.Tensor) else list(first)
    batch = 0 if batch_first else 1
    int(x.shape[1 - batch])  # Converting a symbolic size to an int fixes it.
    for state in states:
        torch._check(state.shape[0] == layers * (1 + both_ways))
        torch._check(state.shape[1] == x.shape[batch])
    out = x @ weights[0].t() @ weights[1]
    return (torch.cat([out, out], dim=-1) if both_ways else out, *(state.clone() for state in states))
