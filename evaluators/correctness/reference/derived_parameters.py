"""Detection of parameters that a constructor computes from other parameters, such as the magnitude of a weight normalization.

Until training changes its values, such a parameter holds nothing that the others do not. A kernel that omits it computes correct results on
every model that the constructor makes. The detection follows the values from parameter to parameter while the constructor runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from evaluators.runtime.parameters import replaced
from kernelevolve.core.errors import UserError

_REPLACES = ("fill_", "zero_", "copy_")
"""The operations that replace all values of their first argument, besides those that draw random numbers."""
_FACTORIES = ("new_", "empty_like", "full_like", "ones_like", "zeros_like")
"""The starts of the names of operations whose results do not depend on the values of their arguments."""


def derived_parameters(build: Callable[[], nn.Module]) -> tuple[nn.Module, frozenset[str]]:
    """Build a model and find its derived parameters.

    Args:
        build: Returns a new model.

    Returns:
        The model, and the names of those of its parameters whose values depend on those of another parameter. There are none where the
        constructor calls what cannot be observed, such as a higher-order operator.
    """
    values = _Values()
    new = nn.Parameter.__new__

    def parameter(cls: Any, data: Any = None, requires_grad: bool = True) -> Any:
        found = new(cls, data, requires_grad)
        if isinstance(found, nn.Parameter):
            values.made(found)
        return found

    with replaced(nn.Parameter, "__new__", parameter), values:
        try:
            model = build()
        except (UserError, RuntimeError, AttributeError, TypeError):
            model = None
            torch._dynamo.reset()  # It would raise the same error again without the observation.
    if model is None:
        return build(), frozenset()
    return model, values.derived(model)


class _Values(TorchDispatchMode):  # type: ignore[misc]
    """Follows which memory holds values that depend on parameters. Memory is told apart by the address of its storage."""

    def __init__(self) -> None:
        super().__init__()
        self._parameters: dict[int, torch.Tensor] = {}
        """The parameters by address. They are kept, also those that the constructor drops, so that no other gets the same memory."""
        self._sources: dict[int, set[int]] = {}
        """The parameters on which the values at an address depend, by address."""

    def made(self, parameter: torch.Tensor) -> None:
        """Register a parameter."""
        place = _place(parameter)
        if place:
            self._parameters[place] = parameter

    def derived(self, model: nn.Module) -> frozenset[str]:
        """Return the names of a model's parameters that depend on another one of it, or like an earlier one on one that was dropped."""
        found, seen = set(), {_place(tensor) for tensor in model.parameters()}
        for name, tensor in model.named_parameters():
            sources = self._sources.get(_place(tensor), set()) - {_place(tensor)}
            if sources & seen:
                found.add(name)
            seen |= sources
        return frozenset(found)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        given = [x for x in tree_leaves((args, kwargs or {})) if isinstance(x, torch.Tensor)]
        places = [_place(x) for x in given]
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        drawn = torch.Tag.nondeterministic_seeded in func.tags
        from_values = not drawn and not name.startswith(_FACTORIES)
        for tensor in tree_leaves(result):
            place = _place(tensor) if isinstance(tensor, torch.Tensor) else 0
            if not place:
                continue
            if place not in places:  # The memory is new, whatever was at its address before.
                self._sources.pop(place, None)
            elif not func._schema.is_mutable:
                continue  # It is a view.
            elif (
                drawn or name in _REPLACES
            ) and tensor.numel() == tensor.untyped_storage().nbytes() // tensor.itemsize:
                self._sources.pop(place, None)
            if from_values:
                found = set().union(*(self._of(each) for each in places if each != place))
                if found:
                    self._sources.setdefault(place, set()).update(found)
        return result

    def _of(self, place: int) -> set[int]:
        own = {place} if place in self._parameters else set()
        return own | self._sources.get(place, set())


def _place(tensor: torch.Tensor) -> int:
    return 0 if tensor.is_meta or tensor.layout is not torch.strided else tensor.untyped_storage().data_ptr()
