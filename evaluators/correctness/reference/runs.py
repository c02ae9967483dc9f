"""Runs of a reference: in its own precision, in float64, and in float64 with every operation rounded in another way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from evaluators.correctness.aliasing import with_memory_of_their_own
from evaluators.correctness.reference.rounding import Direction, Rounding
from evaluators.correctness.reference.work import Work
from evaluators.runtime import tensors
from evaluators.runtime.parameters import OtherParameters, perturbed
from evaluators.runtime.tensors import as_tensor, comparable, same_bits
from kernelevolve.core.errors import UserError
from kernelevolve.core.seeds import derive_seed
from kernelevolve.tasks.loading import LoadedTask, build_model, reason_of
from kernelevolve.tasks.structure import Plain

_ROUNDINGS = (Direction.UP, Direction.DOWN, Direction.RANDOM, Direction.RANDOM)
"""In this order, as many as there is room for."""


class Arguments(Protocol):
    """Makes fresh arguments of forward."""

    def leaves(self, wide: bool = False) -> list[Any]:
        """Tensors and plain values; `wide`: floating tensors are float64."""

    def nested(self, leaves: Sequence[Any]) -> list[Any]:
        """The arguments that consist of these leaves."""


@dataclass(frozen=True)
class Ran:
    """What a call gave."""

    outputs: tuple[torch.Tensor, ...]
    """Tensors, as `tensors.comparable` makes them, then plain numbers with a fraction, as tensors."""
    forms: tuple[tuple[str, tuple[int, ...]], ...]
    """(dtype, shape) of each tensor, as it was returned."""
    values: tuple[Plain, ...]
    """Plain results."""
    structure: str
    changed: dict[int, torch.Tensor]
    """Number of a leaf of the arguments that the call changed in place -> what it holds afterwards."""
    fresh: tuple[bool, ...] = ()
    """Whether each tensor lay in memory of its own."""

    @property
    def results(self) -> tuple[torch.Tensor, ...]:
        """Outputs, then changed inputs."""
        return (*self.outputs, *self.changed.values())


class Runs:
    """Of one task. Two models, of the working precision and of float64, are built and put back into their first state for each run."""

    def __init__(self, loaded: LoadedTask, others: OtherParameters | None = None) -> None:
        """`others`: parameters instead of the task's own."""
        self._loaded = loaded
        self._others = others
        self.changing: tuple[str, ...] | None = None
        """Names of the state that calls change; None where that is not known yet, and each run gets a new model."""
        self._kept: dict[bool, tuple[nn.Module, dict[str, torch.Tensor]]] = {}
        self.widest: torch.dtype | None = None
        """The widest floating dtype below float64 of the model and its inputs; None where there is none."""

    def build(self, *, wide: bool = False) -> nn.Module:
        """A model as its constructor leaves it; the one of the last call, put back, where that is known to be enough."""
        if wide in self._kept:
            model, first = self._kept[wide]
            state = model.state_dict()
            for name, value in first.items():
                state[name].copy_(value)
            return model
        model = self._built()
        if wide:
            model._apply(widened)
        if self.changing is not None:
            state = model.state_dict()
            self._kept[wide] = model, {name: state[name].clone() for name in self.changing}
        return model

    def _built(self) -> nn.Module:
        if self._others is None:
            return build_model(self._loaded, self._loaded.task.seed)
        with perturbed(self._others) as state:
            return state.mend(build_model(self._loaded, self._loaded.task.seed, self._others.seed))

    def with_others(self, others: OtherParameters) -> Runs:
        """Of the same task with other parameters."""
        found = Runs(self._loaded, others)
        found.changing, found.widest = self.changing, self.widest
        return found

    def native(self, model: nn.Module, arguments: Arguments, seed: int) -> Ran:
        """A call. Raises UserError where forward raises, or returns something else than tensors."""
        name = self._loaded.task.name
        torch.manual_seed(seed)
        given = arguments.leaves()
        try:
            result = model(*arguments.nested(given))
        except (
            *(MemoryError, RuntimeError, ValueError, IndexError, AttributeError, KeyError, AssertionError, TypeError),
        ) as error:
            if "allocate" in str(error):
                raise
            raise UserError(f"task {name}: forward raised {reason_of(error)}") from error
        try:
            found = tensors.taken_apart(result)
        except TypeError as error:
            raise UserError(f"task {name}: forward {error}") from error
        forms = tuple((str(t.dtype).removeprefix("torch."), tuple(t.shape)) for t in found.tensors)
        changed = _changed(given, arguments.leaves())
        fresh = with_memory_of_their_own(found.tensors, given, model)
        return Ran(_outputs(found), forms, tuple(found.values), found.structure, changed, fresh)

    def wide(
        self,
        arguments: Arguments,
        native: Ran,
        prepare: Callable[[nn.Module], None] | None = None,
        mode: Rounding | Work | None = None,
    ) -> tuple[torch.Tensor, ...] | None:
        """`Ran.results` in float64, those of whole numbers in their own dtype; None where it does not run so, or gives other shapes.

        `prepare`: is given the model before the call. `mode`: in which it runs.
        """
        given = arguments.leaves(wide=True)
        model = self.build(wide=True)
        modes = [(module, module.training) for module in model.modules()]
        try:
            with mode or nullcontext():
                if prepare is not None:
                    prepare(model)
                torch.manual_seed(self._loaded.task.seed)
                found = tensors.taken_apart(model(*arguments.nested(given)))
        except (RuntimeError, TypeError, ValueError, IndexError, AttributeError, KeyError, AssertionError):
            return None
        finally:
            for module, training in modes:
                module.training = training
        results = [*_outputs(found), *(comparable(given[i]).clone() for i in native.changed)]
        if found.structure != native.structure or [t.shape for t in results] != [t.shape for t in native.results]:
            return None
        return tuple(
            w.double() if n.is_floating_point() else w.to(n.dtype) for w, n in zip(results, native.results, strict=True)
        )

    def rounded(
        self, arguments: Arguments, native: Ran, count: int, prepare: Callable[[nn.Module], None] | None = None
    ) -> list[tuple[torch.Tensor, ...]]:
        """The same with every operation rounded in other ways, up to `count` of them; fewer where it does not run so."""
        found = []
        for number, direction in enumerate(_ROUNDINGS[:count] if self.widest is not None else ()):
            seed = derive_seed(self._loaded.task.seed, "rounding", number)
            mode = Rounding(self.widest, direction, torch.Generator().manual_seed(seed))
            run = self.wide(arguments, native, prepare, mode)
            if run is not None:
                found.append(run)
        return found

    def by_other_attention(self, arguments: Arguments, native: Ran) -> list[tuple[torch.Tensor, ...]]:
        """The same with `scaled_dot_product_attention` written out: the one that is used by default leaves NaN and infinities under a mask
        out where whole blocks are masked, and takes them in elsewhere, so either is right."""
        with sdpa_kernel(SDPBackend.MATH):
            run = self.wide(arguments, native)
        return [] if run is None else [run]

    def look(self, model: nn.Module, arguments: Sequence[Any]) -> None:
        """Find `widest`."""
        floating = [*model.parameters(), *model.buffers(), *(x for x in arguments if isinstance(x, torch.Tensor))]
        parts = {t.real.dtype if t.is_complex() else t.dtype for t in floating}
        dtypes = {d for d in parts if d.is_floating_point and d.itemsize > 1} - {torch.float64}
        self.widest = max(dtypes, key=lambda d: -torch.finfo(d).eps, default=None)


def plain_attributes(model: nn.Module) -> dict[str, str]:
    """What a model holds beside its state, as text by name: where a call changes that, it cannot be put back."""

    def text(value: Any) -> str:
        return f"{id(value)}, {value._version} times changed" if isinstance(value, torch.Tensor) else repr(value)

    return {
        f"{path}.{name}": text(value)
        for path, module in model.named_modules()
        for name, value in vars(module).items()
        if name not in _OF_MODULES
    }


_OF_MODULES = frozenset(vars(nn.Module()))


def _changed(after: Sequence[Any], before: Sequence[Any]) -> dict[int, torch.Tensor]:
    return {
        i: comparable(late).clone()
        for i, (late, early) in enumerate(zip(after, before, strict=True))
        if isinstance(late, torch.Tensor) and not same_bits(late.resolve_conj().resolve_neg(), early)
    }


def widened(x: Any) -> Any:
    """In double precision where it is a tensor of a floating dtype that PyTorch computes with."""
    if not isinstance(x, torch.Tensor):
        return x
    if x.is_complex():
        return x.to(torch.complex128)
    return x.double() if x.is_floating_point() and x.itemsize > 1 else x


def _outputs(found: tensors.Result) -> tuple[torch.Tensor, ...]:
    # They may share memory with inputs, or with each other.
    return (
        *(comparable(t).clone() for t in found.tensors),
        *(as_tensor(v) for v in found.values if isinstance(v, float)),
    )
