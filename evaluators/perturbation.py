"""Parameters that a constructor makes constant, such as the ones and zeros of a norm, with values of their own.

Training, or a checkpoint, gives each element another value; a kernel that leaves such a parameter out is right until then. The values are
given while the constructor runs, since a kernel may pack its weights there, and follow from shape and constant alone: a kernel that makes
its parameters as the reference does has the same ones, in whatever order, and however many others it has.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from kernelevolve.core.record import Record
from kernelevolve.core.seeds import derive_seed

_SPAN = 0.25
"""Values lie up to this share of a constant from it, and at least half as far; around zero up to this."""
_RUNNING = ("running_mean", "running_var")


OTHER = "with other parameters"
"""The label of what is done with them."""


class OtherParameters(Record):
    """What a model is built with, once more."""

    seed: int
    """Of torch's generator right before the constructor: for parameters that are drawn."""
    constants: Mapping[str, float]
    """Names and values of those that the reference's constructor makes constant."""


def constants_of(model: nn.Module) -> dict[str, float]:
    """The value of floating parameters and running statistics of which all elements are one finite value, by name."""
    found = {name: _constant(tensor) for name, tensor in _tensors(model).items()}
    return {name: value for name, value in found.items() if value is not None}


@contextmanager
def perturbed(constants: Mapping[str, float]) -> Iterator[Callable[[nn.Module], nn.Module]]:
    """Parameters and running statistics that are made constant inside get other values.

    What is yielded gives them to those among `constants` that were made constant in a way that is not seen, where they still have that
    value; it returns the model that it is given.
    """
    made: dict[int, nn.Parameter] = {}
    """By where their elements lie; kept, so that no other tensor gets the memory of one that is given up."""
    new, fill, zero = nn.Parameter.__new__, torch.Tensor.fill_, torch.Tensor.zero_
    reset = _NormBase.reset_running_stats

    def parameter(cls: Any, data: Any = None, requires_grad: bool = True) -> Any:
        found = new(cls, data, requires_grad)
        if type(found) is nn.Parameter:
            made[found.untyped_storage().data_ptr()] = found
            _perturb(found)
        return found

    def filled(tensor: Any, *args: Any, **named: Any) -> Any:
        fill(tensor, *args, **named)
        if tensor.untyped_storage().data_ptr() in made:
            _perturb(tensor)
        return tensor

    def zeroed(tensor: Any) -> Any:
        zero(tensor)
        if tensor.untyped_storage().data_ptr() in made:
            _perturb(tensor)
        return tensor

    def running(module: Any) -> None:
        reset(module)
        if module.track_running_stats:
            _perturb(module.running_mean)
            _perturb(module.running_var)

    def mended(model: nn.Module) -> nn.Module:
        there = _tensors(model)
        for name, value in constants.items():
            if name in there and _constant(there[name]) == value:
                _perturb(there[name])
        return model

    with ExitStack() as stack:
        for owner, name, function in (
            (nn.Parameter, "__new__", parameter),
            (torch.Tensor, "fill_", filled),
            (torch.Tensor, "zero_", zeroed),
            (_NormBase, "reset_running_stats", running),
        ):
            stack.enter_context(_replaced(owner, name, function))
        yield mended


@contextmanager
def _replaced(owner: type, name: str, function: Callable[..., Any]) -> Iterator[None]:
    inherited = name not in vars(owner)
    before = vars(owner).get(name)
    setattr(owner, name, function)
    try:
        yield
    finally:
        if inherited:
            delattr(owner, name)
        else:
            setattr(owner, name, before)


def _tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    running = {name: b for name, b in model.named_buffers() if name.rpartition(".")[2] in _RUNNING}
    return {**dict(model.named_parameters()), **running}


def _constant(tensor: torch.Tensor) -> float | None:
    """The value of all its elements; None where they differ, or are not to be changed."""
    if not tensor.is_floating_point() or tensor.itemsize < 2 or tensor.numel() == 0 or tensor.is_meta:
        return None
    low, high = (float(v) for v in torch.aminmax(tensor.detach()))
    return low if low == high and math.isfinite(low) else None


def _perturb(tensor: torch.Tensor) -> None:
    """In place, where it is constant and its elements lie apart."""
    value = _constant(tensor)
    if value is None or any(size > 1 and step == 0 for size, step in zip(tensor.shape, tensor.stride(), strict=True)):
        return
    seed = derive_seed(0, "perturbed", *map(int, tensor.shape), value.hex())
    drawn = torch.rand((2, *tensor.shape), generator=torch.Generator().manual_seed(seed))
    moved = (0.5 + 0.5 * drawn[0]) * torch.where(drawn[1] < 0.5, -_SPAN, _SPAN)
    with torch.no_grad():
        tensor.copy_(moved if value == 0 else value * (1 + moved))
