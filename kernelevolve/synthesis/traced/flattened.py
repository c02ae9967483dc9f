"""Flattening of the nested arguments and results of a model for torch.export."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from kernelevolve.synthesis.traced.builder import UnsupportedError
from kernelevolve.synthesis.traced.signature import Arguments, Leaf, Origin, Returned
from kernelevolve.tasks.structure import Structure, StructureError, flatten, rebuild_arguments


class Flattened:
    """A model whose `forward` takes the leaves of its arguments and returns a tuple of distinct tensors."""

    def __init__(self, model: torch.nn.Module, inputs: Sequence[Any]) -> None:
        """Flatten a model.

        Args:
            model: The model, whose `forward` is replaced.
            inputs: The arguments of `forward`.

        Raises:
            UnsupportedError: An input is neither a tensor nor a plain value.
        """
        try:
            leaves, structure = flatten(list(inputs))
        except StructureError as error:
            raise UnsupportedError(f"an input that {error.fault}") from error
        self.model = model
        self.leaves = _plain_copies(leaves)
        self.arguments = Arguments(structure)
        self._found: Returned | None = None
        forward = model.forward
        names: Mapping[str, Any] = vars(sys.modules[type(model).__module__])

        def flat(*given: Any) -> Any:
            return self._record(forward(*rebuild_arguments(structure, given, names)), given, names)

        model.forward = flat

    @property
    def returned(self) -> Returned:
        """The structure of the result of the last call.

        Raises:
            RuntimeError: The model was not called.
        """
        if self._found is None:
            raise RuntimeError("the flattened model was not called yet")
        return self._found

    def _record(self, result: Any, given: Sequence[Any], names: Mapping[str, Any]) -> tuple[Any, ...]:
        try:
            leaves, structure = flatten(result)
        except StructureError as error:
            raise UnsupportedError(f"a result that {error.fault}") from error
        taken = {id(x): i for i, x in enumerate(given) if isinstance(x, torch.Tensor)}
        if all(id(leaf) in taken for leaf in leaves if isinstance(leaf, torch.Tensor)):
            taken = {}  # The graph needs at least one result.
        numbers: dict[int, int] = {}
        results: list[Any] = []
        records: list[Leaf] = []
        for leaf in leaves:
            if not isinstance(leaf, torch.Tensor | torch.SymInt | torch.SymFloat | torch.SymBool):
                records.append(Leaf(Origin.VALUE, value=leaf))
            elif id(leaf) in taken:
                records.append(Leaf(Origin.INPUT, taken[id(leaf)]))
            else:
                if id(leaf) not in numbers:
                    numbers[id(leaf)] = len(results)
                    results.append(leaf)
                records.append(Leaf(Origin.GRAPH, numbers[id(leaf)]))
        self._found = Returned(structure, tuple(records), frozenset(_named(structure, names)))
        return tuple(results)


def _named(structure: Structure, names: Mapping[str, Any]) -> set[str]:
    found = {n for part in structure.parts for n in _named(part, names)}
    if structure.kind == "namedtuple" and getattr(names.get(structure.name), "_fields", None) == structure.keys:
        found.add(structure.name)
    return found


def _plain_copies(leaves: Sequence[Any]) -> list[Any]:
    """Copy tensors that share memory or are views, since torch.export would fix their sizes."""
    seen: set[int] = set()
    found: list[Any] = []
    for x in leaves:
        if not isinstance(x, torch.Tensor):
            found.append(x)
            continue
        place = x.untyped_storage().data_ptr()
        plain = x.is_contiguous() and not (x._is_view() or x.requires_grad or x.is_conj() or x.is_neg())
        if plain and place not in seen:
            found.append(x)
        else:
            found.append(x.detach().resolve_conj().resolve_neg().clone(memory_format=torch.contiguous_format))
        seen.add(place)
    return found
