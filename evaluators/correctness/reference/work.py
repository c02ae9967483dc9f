"""The amount of work of a run of a model. It is counted, not timed, so that decisions based on it do not depend on the machine's load."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

_FLOPS_PER_ELEMENT = 32
"""The number of floating-point operations that take about as long as reading or writing one element."""

_CONVERTING = ("_to_copy", "copy_")
_QUANTISING = ("fake_quantize_", "quantize_", "_fake_quantize_", "_fused_moving_avg_obs_fq")


class Work(TorchDispatchMode):  # type: ignore[misc]
    """A mode that counts the work of the ATen operations within it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = 0
        """The number of elements of all results that are not views."""
        self.moved = 0
        """The number of elements read or written; the FLOPs of matrix products and the like count as elements that take as long."""
        self.operations: set[str] = set()
        """The names of the ATen operations, such as `sort.stable`."""
        self.truncates = False
        """Whether floats are converted to integers; C++ and PyTorch leave the result undefined for NaN and for values out of range."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Otherwise the first use of the mode imports torch._dynamo.
        return False

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name = func.name().removeprefix("aten::")
        self.operations.add("sort" if name == "sort.stable" and not kwargs.get("stable") else name)
        self.truncates |= name.startswith(_QUANTISING)
        if name in _CONVERTING and isinstance(result, torch.Tensor) and not result.is_floating_point():
            source = args[1] if name == "copy_" else args[0]
            self.truncates |= source.is_floating_point() and result.dtype is not torch.bool
        if not func.is_view:
            written = _elements(result)
            self.written += written
            self.moved += written + _elements((args, kwargs))
            if func._overloadpacket in flop_registry:
                flops = flop_registry[func._overloadpacket](*args, **kwargs, out_val=result)
                self.moved += math.ceil(flops / _FLOPS_PER_ELEMENT)
        return result


def _elements(values: Any) -> int:
    return sum(int(x.numel()) for x in pytree.tree_leaves(values) if isinstance(x, torch.Tensor))
