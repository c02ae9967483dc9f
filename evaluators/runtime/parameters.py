"""Perturbation of parameters that a constructor initializes to a constant, such as the ones and zeros of a normalization layer.

A kernel that omits such a parameter, or confuses two of them, computes correct results until training or a checkpoint changes their
values. The same holds for parameters that are computed from others, which are perturbed as well. The new values are set while the
constructor runs, since a kernel may pack its weights there. They depend on the initial value, the shape and the number of parameters of
that shape made before. A kernel that makes its parameters as the reference does therefore gets the same values, however many other
parameters it has.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from kernelevolve.core.record import Record
from kernelevolve.core.seeds import derive_seed

_LEAST, _MOST = 0.5, 2.0
"""The least and the largest factor by which a constant other than zero is multiplied."""
_NEGATIVE = 0.25
"""The share of values whose sign is changed. At least one is."""
_AROUND_ZERO = 0.125, 0.25
"""The least and the largest absolute value that replaces a zero."""
_MEANS, _VARIANCES = "running_mean", "running_var"

OTHER = "with other parameters"
"""The label of checks with other parameters, in messages."""


class Constant(Record):
    """A parameter or running statistic with a constant initial value, which a kernel could replace by a number in its code."""

    value: float | None
    """The value of all its elements, or None if it is computed from other parameters or does not depend on the seed."""
    shape: tuple[int, ...]
    """Its shape."""
    ordinal: int = 0
    """Its position among the parameters of its shape, in the order in which they are made."""


class PerturbedParameters(Record):
    """The parameters with which a model is built a second time."""

    seed: int
    """The seed of torch's generator right before the constructor, which determines the parameters that are drawn."""
    constants: Mapping[str, Constant] = {}
    """The constant parameters of the reference, by name."""
    signed: bool = True
    """Whether perturbed values may change their signs. It is False for references that take logarithms or roots of them."""


class Perturbed:
    """Perturbs the constant parameters of a model that is built in the context `perturbed`."""

    def __init__(self, others: PerturbedParameters) -> None:
        self._others = others
        self._constants = {c.value for c in others.constants.values() if c.value is not None}
        self._derived = {(c.shape, c.ordinal) for c in others.constants.values() if c.value is None}
        self._known: dict[int, tuple[torch.Tensor, int]] = {}
        """The parameters and their ordinals, by the address of their storage. They are kept so that no other gets the same memory."""
        self._perturbed: set[int] = set()
        self._single: dict[int, float] = {}
        """The perturbed values of one-element parameters, by address. Such a parameter is constant whatever its value."""
        self._counts: Counter[torch.Size] = Counter()

    def made(self, tensor: torch.Tensor, *, variance: bool = False) -> None:
        """Register a parameter that was made, and perturb it if it is constant."""
        place = tensor.untyped_storage().data_ptr()
        if tensor.numel() and place not in self._known:
            self._known[place] = tensor, self._counts[tensor.shape]
            self._counts[tensor.shape] += 1
        self.written(tensor, variance=variance)

    def written(self, tensor: torch.Tensor, *, variance: bool = False) -> None:
        """Handle a write to a tensor: perturb it if it is a whole registered parameter, constant or in the place of a derived one."""
        place = tensor.untyped_storage().data_ptr()
        owner, ordinal = self._known.get(place, (None, 0))
        value = _constant(tensor)
        if owner is None or owner.numel() != tensor.numel() or (place in self._single and self._single[place] == value):
            return
        if value is None or value not in self._constants:
            if (tuple(owner.shape), ordinal) not in self._derived:
                return  # It is a tensor of a helper and not one of the reference's constants.
            value = None
        self._perturb(tensor, Constant(value=value, shape=tuple(owner.shape), ordinal=ordinal), variance=variance)
        if tensor.numel() == 1:
            self._single[place] = float(tensor.detach().real if tensor.is_complex() else tensor.detach())

    def mend(self, model: nn.Module) -> nn.Module:
        """Perturb the reference's constants that were made in a way that is not observed, or that are copies of others."""
        there = _tensors(model)
        for name, constant in self._others.constants.items():
            place = there[name].untyped_storage().data_ptr() if name in there else None
            if place is None or place in self._perturbed:
                continue
            if place in self._known or constant.value in (None, _constant(there[name])):
                self._perturb(there[name], constant, variance=_is_variance(name))
        return model

    def numbered(self, model: nn.Module) -> PerturbedParameters:
        """Return the same parameters with the ordinals that the constants have in a model that was built."""
        found = dict(self._others.constants)
        for name, tensor in _tensors(model).items():
            if name in found:
                _, ordinal = self._known.get(tensor.untyped_storage().data_ptr(), (None, self._counts[tensor.shape]))
                found[name] = found[name].model_copy(update={"ordinal": ordinal})
        return self._others.model_copy(update={"constants": found})

    def _perturb(self, tensor: torch.Tensor, constant: Constant, *, variance: bool) -> None:
        self._perturbed.add(tensor.untyped_storage().data_ptr())
        perturb(tensor, constant, signed=self._others.signed and not variance)


def constants_of(model: nn.Module, again: nn.Module, derived: Collection[str]) -> dict[str, Constant]:
    """Return the constant parameters of a model by name, with all ordinals 0.

    Args:
        model: The model.
        again: The same model built with another seed.
        derived: The names of the parameters that are computed from others.
    """
    found: dict[str, Constant] = {}
    others = _tensors(again)
    for name, tensor in _tensors(model).items():
        value = _constant(tensor)
        if value is not None:
            found[name] = Constant(value=value, shape=tuple(tensor.shape))
        elif not tensor.is_floating_point() or tensor.itemsize < 2 or tensor.numel() == 0:
            continue
        elif name in derived or torch.equal(tensor, others[name]) or _is_copy(name, tensor, model):
            found[name] = Constant(value=None, shape=tuple(tensor.shape))
    return found


def _is_copy(name: str, tensor: torch.Tensor, model: nn.Module) -> bool:
    """Return whether an earlier parameter holds the same values elsewhere in memory."""
    for earlier, other in _tensors(model).items():
        if earlier == name:
            return False
        apart = other.dtype is tensor.dtype and other.data_ptr() != tensor.data_ptr()
        if apart and other.shape == tensor.shape and torch.equal(other, tensor):
            return True
    return False


def perturb(tensor: torch.Tensor, constant: Constant, *, signed: bool) -> None:
    """Replace the values of a tensor in place. A tensor whose elements overlap in memory is left as it is.

    Args:
        tensor: The tensor.
        constant: The constant, which determines the new values together with the shape.
        signed: Whether values may change their signs.
    """
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


def built_by_names(model: nn.Module, others: PerturbedParameters) -> nn.Module | None:
    """Perturb the constants of a finished model by their names.

    This serves kernels that make their parameters in another way than the reference, and do not pack them.

    Args:
        model: A model that was built with the seed of `others`.
        others: The other parameters.

    Returns:
        The model, or None if it lacks one of the reference's constants.
    """
    there = _tensors(model)
    if not others.constants.keys() <= there.keys():
        return None
    for name, constant in others.constants.items():
        perturb(there[name], constant, signed=others.signed and not _is_variance(name))
    return model


@contextmanager
def perturbed(others: PerturbedParameters) -> Iterator[Perturbed]:
    """Perturb the parameters and running statistics that are initialized to a constant in this context. The caller sets the seed."""
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
        stack.enter_context(replaced(nn.Parameter, "__new__", parameter))
        stack.enter_context(replaced(_NormBase, "reset_running_stats", running))
        for name in ("fill_", "zero_", "copy_"):
            stack.enter_context(replaced(torch.Tensor, name, seen(getattr(torch.Tensor, name))))
        yield state


@contextmanager
def replaced(owner: type, name: str, function: Callable[..., Any]) -> Iterator[None]:
    """Replace an attribute of a class in this context."""
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
    """Return the value that all elements have, or None if they differ or the tensor is not to be perturbed."""
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.detach().resolve_conj())[..., 0]
    if not tensor.is_floating_point() or tensor.itemsize < 2 or tensor.numel() == 0 or tensor.is_meta:
        return None
    low, high = (float(v) for v in torch.aminmax(tensor.detach()))
    return low if low == high and math.isfinite(low) else None
