"""Parameters that a constructor makes constant, such as the ones and zeros of a norm, with values of their own.

Training, or a checkpoint, gives each element another value; a kernel that leaves such a parameter out, or takes one for another, is right
until then. The values are given while the constructor runs, since a kernel may pack its weights there. They follow from the constant, the
shape and how many parameters of that shape were made before: a kernel that makes its parameters as the reference does has the same ones,
however many others it has.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from kernelevolve.core.record import Record
from kernelevolve.core.seeds import derive_seed

_LEAST, _MOST = 0.5, 2.0
"""Times a constant that is not zero;"""
_NEGATIVE = 0.25
"""so many of them, and at least one, with the other sign."""
_AROUND_ZERO = 0.125, 0.25
"""How far from zero values in its place lie."""
_MEANS, _VARIANCES = "running_mean", "running_var"

OTHER = "with other parameters"
"""The label of what is done with them."""


class Constant(Record):
    """A parameter, or running statistics, of which nothing but its first value tells it from others, or from a number in the code."""

    value: float | None
    """Of all its elements; None for one that is a copy of another, or that is drawn alike for each seed."""
    ordinal: int
    """Of the parameters of this shape, in the order in which they are made."""


class OtherParameters(Record):
    """What a model is built with, once more."""

    seed: int
    """Of torch's generator right before the constructor: for parameters that are drawn."""
    constants: Mapping[str, Constant] = {}
    """Those of the reference, by name."""
    signed: bool = True
    """Values change their signs too; else not, for references that take logarithms or roots of them."""


class Perturbed:
    """The parameters of a model that is built within `perturbed`."""

    def __init__(self, others: OtherParameters) -> None:
        self._others = others
        self._constants = {c.value for c in others.constants.values() if c.value is not None}
        self._known: dict[int, tuple[torch.Tensor, int]] = {}
        """By where its elements lie: a parameter, kept so that no other gets its memory, and its ordinal."""
        self._perturbed: set[int] = set()
        self._single: dict[int, float] = {}
        """What perturbed parameters of one element, which are constant whatever they hold, hold since."""
        self._counts: Counter[torch.Size] = Counter()

    def made(self, tensor: torch.Tensor, *, variance: bool = False) -> None:
        """It was made; it is perturbed where it is constant."""
        place = tensor.untyped_storage().data_ptr()
        if tensor.numel() and place not in self._known:
            self._known[place] = tensor, self._counts[tensor.shape]
            self._counts[tensor.shape] += 1
        self.written(tensor, variance=variance)

    def written(self, tensor: torch.Tensor, *, variance: bool = False) -> None:
        """It was written to: it is perturbed where it is the whole of one that was made, and constant."""
        place = tensor.untyped_storage().data_ptr()
        owner, ordinal = self._known.get(place, (None, 0))
        value = _constant(tensor)
        if owner is None or owner.numel() != tensor.numel() or self._single.get(place) == value:
            return
        if value is None or value not in self._constants:
            return  # None of the reference's, but of a helper.
        self._perturb(tensor, Constant(value=value, ordinal=ordinal), variance=variance)
        if tensor.numel() == 1:
            self._single[place] = float(tensor.detach().real if tensor.is_complex() else tensor.detach())

    def mend(self, model: nn.Module) -> nn.Module:
        """Perturb those of the reference's constants that were made in a way that is not seen, or are copies of others."""
        there = _tensors(model)
        for name, constant in self._others.constants.items():
            place = there[name].untyped_storage().data_ptr() if name in there else None
            if place is None or place in self._perturbed:
                continue
            if place in self._known or constant.value in (None, _constant(there[name])):
                self._perturb(there[name], constant, variance=_is_variance(name))
        return model

    def numbered(self, model: nn.Module) -> OtherParameters:
        """The same, with the ordinals that the constants have in a model that was built."""
        found = dict(self._others.constants)
        for name, tensor in _tensors(model).items():
            if name in found:
                _, ordinal = self._known.get(tensor.untyped_storage().data_ptr(), (None, self._counts[tensor.shape]))
                found[name] = Constant(value=found[name].value, ordinal=ordinal)
        return self._others.model_copy(update={"constants": found})

    def _perturb(self, tensor: torch.Tensor, constant: Constant, *, variance: bool) -> None:
        self._perturbed.add(tensor.untyped_storage().data_ptr())
        perturb(tensor, constant, signed=self._others.signed and not variance)


def constants_of(model: nn.Module, again: nn.Module) -> dict[str, Constant]:
    """By name, not numbered yet. `again`: the same model with another seed."""
    found: dict[str, Constant] = {}
    others = _tensors(again)
    for name, tensor in _tensors(model).items():
        value = _constant(tensor)
        if value is not None:
            found[name] = Constant(value=value, ordinal=0)
        elif not tensor.is_floating_point() or tensor.itemsize < 2 or tensor.numel() == 0:
            continue
        elif torch.equal(tensor, others[name]) or _is_copy(name, tensor, model):
            found[name] = Constant(value=None, ordinal=0)
    return found


def _is_copy(name: str, tensor: torch.Tensor, model: nn.Module) -> bool:
    """Whether one that comes before it holds the same, elsewhere in memory."""
    for earlier, other in _tensors(model).items():
        if earlier == name:
            return False
        apart = other.dtype is tensor.dtype and other.data_ptr() != tensor.data_ptr()
        if apart and other.shape == tensor.shape and torch.equal(other, tensor):
            return True
    return False


def perturb(tensor: torch.Tensor, constant: Constant, *, signed: bool) -> None:
    """In place, where its elements lie apart."""
    if any(size > 1 and step == 0 for size, step in zip(tensor.shape, tensor.stride(), strict=True)):
        return
    text = "" if constant.value is None else constant.value.hex()
    seed = derive_seed(0, "perturbed", *map(int, tensor.shape), text, constant.ordinal)
    generator = torch.Generator().manual_seed(seed)

    def drawn() -> torch.Tensor:
        return torch.rand(tuple(tensor.shape), generator=generator, dtype=torch.float64)

    if constant.value == 0:
        near, far = _AROUND_ZERO
        made = torch.where(drawn() < 0.5, -1.0, 1.0) * (near + (far - near) * drawn())
    else:
        was = tensor.detach().double() if constant.value is None else constant.value
        made = was * _LEAST * (_MOST / _LEAST) ** drawn()
        if signed:
            negative = drawn() < _NEGATIVE
            negative.view(-1)[int(torch.randint(negative.numel(), (), generator=generator))] = True
            made = torch.where(negative, -made, made)
    with torch.no_grad():
        torch._C.TensorBase.copy_(tensor, made)  # The method of the class may be replaced.


def built_by_names(model: nn.Module, others: OtherParameters) -> nn.Module | None:
    """A model that was built with the other seed, given the values of the reference's constants afterwards; None where one is not there.

    For kernels that make their parameters in another way than the reference, and pack nothing.
    """
    there = _tensors(model)
    if not others.constants.keys() <= there.keys():
        return None
    for name, constant in others.constants.items():
        perturb(there[name], constant, signed=others.signed and not _is_variance(name))
    return model


@contextmanager
def perturbed(others: OtherParameters) -> Iterator[Perturbed]:
    """Parameters and running statistics that are made constant inside get other values. The seed is the caller's to set."""
    state = Perturbed(others)
    new, reset = nn.Parameter.__new__, _NormBase.reset_running_stats

    def parameter(cls: Any, data: Any = None, requires_grad: bool = True) -> Any:
        found = new(cls, data, requires_grad)
        if isinstance(found, nn.Parameter):
            state.made(found)
        return found

    def running(module: Any) -> None:
        reset(module)
        if module.track_running_stats:
            state.made(module.running_mean)
            state.made(module.running_var, variance=True)

    def seen(write: Callable[..., Any]) -> Callable[..., Any]:
        def written(tensor: Any, *args: Any, **named: Any) -> Any:
            result = write(tensor, *args, **named)
            state.written(tensor)
            return result

        return written

    with ExitStack() as stack:
        stack.enter_context(_replaced(nn.Parameter, "__new__", parameter))
        stack.enter_context(_replaced(_NormBase, "reset_running_stats", running))
        for name in ("fill_", "zero_", "copy_"):
            stack.enter_context(_replaced(torch.Tensor, name, seen(getattr(torch.Tensor, name))))
        yield state


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
    running = {n: b for n, b in model.named_buffers() if n.rpartition(".")[2] in (_MEANS, _VARIANCES)}
    return {**dict(model.named_parameters()), **running}


def _is_variance(name: str) -> bool:
    return name.rpartition(".")[2] == _VARIANCES


def _constant(tensor: torch.Tensor) -> float | None:
    """The value of all its elements; None where they differ, or are not to be changed."""
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.detach().resolve_conj())[..., 0]
    if not tensor.is_floating_point() or tensor.itemsize < 2 or tensor.numel() == 0 or tensor.is_meta:
        return None
    low, high = (float(v) for v in torch.aminmax(tensor.detach()))
    return low if low == high and math.isfinite(low) else None
