"""How much work a run of a model is: counted, not timed, so that what follows from it does not depend on what else the machine does."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

_FLOPS_PER_ELEMENT = 32
"""That take about as long as reading or writing an element."""


_CONVERTING = ("_to_copy", "copy_")
_QUANTISING = ("fake_quantize_", "quantize_", "_fake_quantize_", "_fused_moving_avg_obs_fq")


class Work(TorchDispatchMode):  # type: ignore[misc]
    """Counts what ATen operations within it do."""

    def __init__(self) -> None:
        super().__init__()
        self.written = 0
        """Elements of results, views apart."""
        self.moved = 0
        """Elements read or written, with the flops of products as so many as take the same time."""
        self.operations: set[str] = set()
        """Names of ATen operations, such as `sort.stable`."""
        self.truncates = False
        """Whether numbers with a fraction become whole ones: C++ and PyTorch leave open what those out of range become."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Else its first use imports torch._dynamo.
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
