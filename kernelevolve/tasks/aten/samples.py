"""The samples that the database has of an operator, and the operator's own results on them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch

from kernelevolve.tasks.aten.calls import Call, UnsupportedError, call_of
from kernelevolve.tasks.aten.database import Entry, resolved
from kernelevolve.tasks.structure import StructureError, flatten
from kernelevolve.tasks.tensor_kinds import DTYPES

SEED = 0
"""The seed of the samples and of drawn tensors."""
_RANDOM = "its results are random"
_SAMPLES = 100
"""The number of samples that are looked at."""


@dataclass(frozen=True)
class Sample:
    """A sample of the database that the operator takes."""

    number: int
    call: Call
    tensors: tuple[torch.Tensor, ...]
    results: tuple[torch.Tensor, ...]
    """What the operator of the entry returns."""

    @property
    def finite(self) -> bool:
        """Whether the results are finite."""
        return all(finite(result) for result in self.results)

    @property
    def elements(self) -> int:
        """The elements of all tensors."""
        return sum(int(tensor.numel()) for tensor in self.tensors)


def samples_of(entry: Entry, dtype: str) -> list[Sample]:
    """Return the usable samples.

    Raises:
        UnsupportedError: There is none, with the first reason; or the operator is random on some, unless dropout is a part of it only.
    """
    torch.manual_seed(SEED)
    random.seed(SEED)
    np.random.seed(SEED)
    found = []
    reasons = []
    for number, sample in enumerate(islice(entry.info.sample_inputs("cpu", DTYPES[dtype]), _SAMPLES)):
        try:
            call, tensors = call_of(sample)
            call.text("f")
            first, again = (called(entry.info.op, call, tensors, seed) for seed in (1, 2))
        except UnsupportedError as error:
            reasons.append(str(error))
            continue
        except StructureError as error:
            reasons.append(f"its result {str(error).strip()}")
            continue
        except Exception as error:  # noqa: BLE001 - a sample that the operator itself refuses
            reasons.append(f"it does not take its own sample ({type(error).__name__}: {first_line(error)})")
            continue
        if not all_equal(first, again) or any(_random(name, call, tensors) for name in entry.callables[:1]):
            reasons.append(_RANDOM)
            continue
        if any(tensor.numel() for tensor in tensors) and any(result.numel() for result in first):
            found.append(Sample(number, call, tuple(tensors), tuple(first)))
    if (
        _RANDOM in reasons and "attention" not in entry.info.name
    ):  # Of dropout, samples with the probability 0 are left, say.
        raise UnsupportedError(_RANDOM)
    if not found:
        raise UnsupportedError(reasons[0] if reasons else "the database has no samples with elements of it")
    return found


def _random(expression: str, call: Call, tensors: Sequence[torch.Tensor]) -> bool:
    """Return whether a function gives other results with another seed. The entries of random operators set the seed themselves."""
    with suppress(Exception):  # It is another overload.
        first, again = (called(resolved(expression), call, tensors, seed) for seed in (1, 2))
        return not all_equal(first, again)
    return False


def called(function: Any, call: Call, tensors: Sequence[torch.Tensor], seed: int) -> list[torch.Tensor]:
    """Return the results of a call, on copies of the tensors. The generators of the samples go on as if there had been no call."""
    before = torch.get_rng_state()
    try:
        torch.manual_seed(seed)
        args, kwargs = call.filled([tensor.clone() for tensor in tensors])
        return results_of(function(*args, **kwargs))
    finally:
        torch.set_rng_state(before)


def results_of(value: Any) -> list[torch.Tensor]:
    """Return the tensors of a result. Raises StructureError or UnsupportedError if it has anything else than the format allows."""
    leaves, _ = flatten(value)
    tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
    if not tensors:
        raise UnsupportedError("it returns no tensor")
    return [tensor.detach() for tensor in tensors]


def finite(tensor: torch.Tensor) -> bool:
    return not (tensor.is_floating_point() or tensor.is_complex()) or bool(tensor.isfinite().all())


def all_equal(some: Sequence[torch.Tensor], others: Sequence[torch.Tensor]) -> bool:
    return len(some) == len(others) and all(_equal(a, b) for a, b in zip(some, others, strict=True))


def first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0][:200]


def _equal(a: torch.Tensor, b: torch.Tensor) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if not (a.is_floating_point() or a.is_complex()):
        return bool((a == b).all())
    wide = torch.complex128 if a.is_complex() else torch.float64
    return bool(torch.allclose(a.to(wide), b.to(wide), rtol=0, atol=0, equal_nan=True))
