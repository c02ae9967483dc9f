"""Runs of a reference in its own precision, in float64, and in float64 with every operation rounded to its own precision."""

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
from evaluators.runtime.parameters import PerturbedParameters, perturbed
from evaluators.runtime.tensors import as_tensor, comparable, same_bits
from kernelevolve.core.errors import UserError
from kernelevolve.core.seeds import derive_seed
from kernelevolve.tasks.loading import LoadedTask, build_model, reason_of
from kernelevolve.tasks.structure import Plain

_ROUNDINGS = (Direction.UP, Direction.DOWN, Direction.RANDOM, Direction.RANDOM)
"""The directions of the runs with other roundings, in order."""


class Arguments(Protocol):
    """A source of fresh arguments for each call of forward."""

    def leaves(self, wide: bool = False) -> list[Any]:
        """Return the tensors and plain values of the arguments; with `wide`, floating tensors are float64."""

    def nested(self, leaves: Sequence[Any]) -> list[Any]:
        """Return the arguments that consist of these leaves."""


@dataclass(frozen=True)
class CallResults:
    """The results of one call."""

    outputs: tuple[torch.Tensor, ...]
    """The returned tensors, as `tensors.comparable` converts them, then the returned floats, as tensors."""
    forms: tuple[tuple[str, tuple[int, ...]], ...]
    """The (dtype, shape) of each tensor as it was returned."""
    values: tuple[Plain, ...]
    """The results that are plain values."""
    structure: str
    """The structure of the results, as text."""
    changed: dict[int, torch.Tensor]
    """The leaves of the arguments that the call changed in place: their index -> their new value."""
    fresh: tuple[bool, ...] = ()
    """For each returned tensor, whether its memory was its own."""
    random: bool = False
    """Whether the call drew random numbers from PyTorch's global generator."""

    @property
    def results(self) -> tuple[torch.Tensor, ...]:
        """The outputs, then the changed inputs."""
        return (*self.outputs, *self.changed.values())


class ReferenceRuns:
    """Runs the reference of one task.

    Two models, one in the working precision and one in float64, are built once and reset to their initial state for each run.
    """

    def __init__(self, loaded: LoadedTask, others: PerturbedParameters | None = None, device: str = "cpu") -> None:
        """Prepare runs of a task.

        Args:
            loaded: The task.
            others: The parameters to use instead of the task's own; None for the task's own.
            device: The type of the device that computes. Arguments and results lie in this process's memory in any case.
        """
        self._loaded = loaded
        self._device = device
        self._others = others
        self.changing: tuple[str, ...] | None = None
        """The names of the state that calls change; None while that is not known, so that each run gets a new model."""
        self._kept: dict[bool, tuple[nn.Module, dict[str, torch.Tensor]]] = {}
        """The models to reuse, by whether they are float64, each with the initial values of the state that calls change."""
        self.widest: torch.dtype | None = None
        """The most precise floating dtype of the model and its inputs other than float64; None where there is none."""

    def build(self, *, wide: bool = False) -> nn.Module:
        """Return a model in its initial state: the last one, reset, where it is known which state calls change; else a new one.

        Args:
            wide: Whether the model is float64.
        """
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
            return build_model(self._loaded, self._loaded.task.seed).to(device=self._device)
        with perturbed(self._others) as state:
            model = state.mend(build_model(self._loaded, self._loaded.task.seed, self._others.seed))
        return model.to(device=self._device)

    def with_others(self, others: PerturbedParameters) -> ReferenceRuns:
        """Return runs of the same task with other parameters."""
        runs = ReferenceRuns(self._loaded, others, self._device)
        runs.changing, runs.widest = self.changing, self.widest
        return runs

    def native(self, model: nn.Module, arguments: Arguments, seed: int) -> CallResults:
        """Call a model in its own precision.

        Args:
            model: The model, from `build`.
            arguments: The source of the arguments.
            seed: The seed of PyTorch's global generator for the call.

        Returns:
            The results.

        Raises:
            UserError: forward raises, returns something other than tensors and plain values, or resizes an input.
        """
        name = self._loaded.task.name
        torch.manual_seed(seed)
        drawn_before = self._generators()
        given = self._placed(arguments.leaves())
        try:
            result = model(*arguments.nested(given))
        except (
            *(MemoryError, RuntimeError, ValueError, IndexError, AttributeError, KeyError, AssertionError, TypeError),
        ) as error:
            if "allocate" in str(error):
                raise
            raise UserError(f"task {name}: forward raised {reason_of(error)}") from error
        try:
            found = tensors.flatten_result(result, self._device)
        except TypeError as error:
            raise UserError(f"task {name}: forward {error}") from error
        forms = tuple((str(t.dtype).removeprefix("torch."), tuple(t.shape)) for t in found.tensors)
        random = not all(map(torch.equal, drawn_before, self._generators()))
        before = arguments.leaves()
        fresh = with_memory_of_their_own(found.tensors, given, model)
        given = [x.cpu() if isinstance(x, torch.Tensor) else x for x in given]
        for i, (late, early) in enumerate(zip(given, before, strict=True)):
            if isinstance(late, torch.Tensor) and late.shape != early.shape:
                raise UserError(
                    f"task {name}: forward gives input {i} another shape in place, which a kernel cannot do: return a new tensor instead"
                )
        changed = _changed(given, before)
        return CallResults(_outputs(found), forms, tuple(found.values), found.structure, changed, fresh, random)

    def wide(
        self,
        arguments: Arguments,
        native: CallResults,
        prepare: Callable[[nn.Module], None] | None = None,
        mode: Rounding | Work | None = None,
    ) -> tuple[torch.Tensor, ...] | None:
        """Call the model in float64.

        Args:
            arguments: The source of the arguments.
            native: The results of the same call in the model's own precision.
            prepare: A function that is given the model before the call.
            mode: A mode to make the call in.

        Returns:
            `Ran.results`, with floats in float64 and all others in their own dtype; None where the model does not run in float64, or
            the results have another structure or other shapes.
        """
        given = self._placed(arguments.leaves(wide=True))
        model = self.build(wide=True)
        modes = [(module, module.training) for module in model.modules()]
        try:
            with mode or nullcontext():
                if prepare is not None:
                    prepare(model)
                torch.manual_seed(self._loaded.task.seed)
                found = tensors.flatten_result(model(*arguments.nested(given)), self._device)
        except (RuntimeError, TypeError, ValueError, IndexError, AttributeError, KeyError, AssertionError):
            return None
        finally:
            for module, training in modes:
                module.training = training
        results = [*_outputs(found), *(_copied(comparable(given[i])) for i in native.changed)]
        if found.structure != native.structure or [t.shape for t in results] != [t.shape for t in native.results]:
            return None
        return tuple(
            w.double() if n.is_floating_point() else w.to(n.dtype) for w, n in zip(results, native.results, strict=True)
        )

    def _placed(self, leaves: Sequence[Any]) -> list[Any]:
        """Return leaves of arguments whose tensors lie on the device."""
        return [leaf.to(self._device) if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves]

    def _generators(self) -> tuple[torch.Tensor, ...]:
        """Return the states of PyTorch's global generators of random numbers."""
        return (torch.get_rng_state(), *(() if self._device == "cpu" else (torch.cuda.get_rng_state(),)))

    def rounded(
        self, arguments: Arguments, native: CallResults, count: int, prepare: Callable[[nn.Module], None] | None = None
    ) -> list[tuple[torch.Tensor, ...]]:
        """Call the model in float64 with every operation rounded to the working precision, once for each of several roundings.

        Args:
            arguments: The source of the arguments.
            native: The results of the same call in the model's own precision.
            count: The number of roundings.
            prepare: A function that is given the model before each call.

        Returns:
            The results of each call, as from `wide`; calls that fail are left out.
        """
        runs = []
        for number, direction in enumerate(_ROUNDINGS[:count] if self.widest is not None else ()):
            seed = derive_seed(self._loaded.task.seed, "rounding", number)
            mode = Rounding(self.widest, direction, torch.Generator().manual_seed(seed))
            run = self.wide(arguments, native, prepare, mode)
            if run is not None:
                runs.append(run)
        return runs

    def by_other_attention(self, arguments: Arguments, native: CallResults) -> list[tuple[torch.Tensor, ...]]:
        """Call the model in float64 with the math backend of `scaled_dot_product_attention`.

        The default backend skips NaN and infinities in blocks that are masked entirely and includes them elsewhere, so the results of
        both backends are correct.
        """
        with sdpa_kernel(SDPBackend.MATH):
            run = self.wide(arguments, native)
        return [] if run is None else [run]

    def look(self, model: nn.Module, arguments: Sequence[Any]) -> None:
        """Find the value of `widest` for a model and its arguments."""
        floating = [*model.parameters(), *model.buffers(), *(x for x in arguments if isinstance(x, torch.Tensor))]
        parts = {t.real.dtype if t.is_complex() else t.dtype for t in floating}
        dtypes = {d for d in parts if d.is_floating_point and d.itemsize > 1} - {torch.float64}
        self.widest = max(dtypes, key=lambda d: -torch.finfo(d).eps, default=None)


def plain_attributes(model: nn.Module) -> dict[str, str]:
    """Return the attributes of a model beside its state, as text by name, to detect changes that cannot be undone."""

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
    """Return a tensor in double precision if it is complex, or floating with at least 16 bits; return anything else unchanged."""
    if not isinstance(x, torch.Tensor):
        return x
    if x.is_complex():
        return x.to(torch.complex128)
    return x.double() if x.is_floating_point() and x.itemsize > 1 else x


def _copied(tensor: torch.Tensor) -> torch.Tensor:
    """Return a copy in this process's memory."""
    return tensor.clone() if tensor.device.type == "cpu" else tensor.cpu()


def _outputs(found: tensors.Result) -> tuple[torch.Tensor, ...]:
    # Cloned, since the results may share memory with inputs or with each other.
    return (
        *(_copied(comparable(t)) for t in found.tensors),
        *(as_tensor(v) for v in found.values if isinstance(v, float)),
    )
