"""Runs of a reference: in its own precision, in float64, and in float64 with every operation rounded in another way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn

from evaluators import tensors
from evaluators.rounding import Direction, Rounding
from evaluators.tensors import same_bits
from evaluators.work import Work
from kernelevolve.core.errors import UserError
from kernelevolve.core.seeds import derive_seed
from kernelevolve.tasks.loading import LoadedTask, build_model

_ROUNDINGS = (Direction.UP, Direction.DOWN, Direction.RANDOM, Direction.RANDOM)
"""In this order, as many as there is room for."""


class Arguments(Protocol):
    """Makes fresh arguments of forward."""

    def __call__(self, wide: bool = False) -> list[Any]:
        """`wide`: floating tensors are float64."""


@dataclass(frozen=True)
class Ran:
    """What a call gave."""

    outputs: tuple[torch.Tensor, ...]
    structure: str
    changed: dict[int, torch.Tensor]
    """Position of an input that the call changed in place -> what it holds afterwards."""

    @property
    def results(self) -> tuple[torch.Tensor, ...]:
        """Outputs, then changed inputs."""
        return (*self.outputs, *self.changed.values())


class Runs:
    """Of one task. Two models, of the working precision and of float64, are built and put back into their first state for each run."""

    def __init__(self, loaded: LoadedTask) -> None:
        self._loaded = loaded
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
        model = build_model(self._loaded, self._loaded.task.seed)
        if wide:
            model.double()
        if self.changing is not None:
            state = model.state_dict()
            self._kept[wide] = model, {name: state[name].clone() for name in self.changing}
        return model

    def native(self, model: nn.Module, arguments: Arguments, seed: int) -> Ran:
        """A call. Raises UserError where forward raises, or returns something else than tensors."""
        name = self._loaded.task.name
        torch.manual_seed(seed)
        given = arguments()
        try:
            # Outputs may share memory with inputs, or with each other's.
            found, structure = tensors.flatten(model(*given))
            return Ran(tuple(t.clone() for t in found), structure, _changed(given, arguments()))
        except TypeError as error:
            raise UserError(f"task {name}: forward {error}; it must return tensors") from error
        except (MemoryError, RuntimeError, ValueError, IndexError, AttributeError, KeyError, AssertionError) as error:
            if "allocate" in str(error):
                raise
            line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise UserError(f"task {name}: forward raised {type(error).__name__}: {line}") from error

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
        given = arguments(wide=True)
        model = self.build(wide=True)
        modes = [(module, module.training) for module in model.modules()]
        try:
            with mode or nullcontext():
                if prepare is not None:
                    prepare(model)
                torch.manual_seed(self._loaded.task.seed)
                found, structure = tensors.flatten(model(*given))
        except (RuntimeError, TypeError, ValueError, IndexError):
            return None
        finally:
            for module, training in modes:
                module.training = training
        results = [t.clone() for t in (*found, *(given[i] for i in native.changed))]
        if structure != native.structure or [t.shape for t in results] != [t.shape for t in native.results]:
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

    def look(self, model: nn.Module, arguments: Sequence[Any]) -> None:
        """Find `widest`."""
        floating = [*model.parameters(), *model.buffers(), *(x for x in arguments if isinstance(x, torch.Tensor))]
        dtypes = {t.dtype for t in floating if t.is_floating_point()} - {torch.float64}
        self.widest = max(dtypes, key=lambda d: -torch.finfo(d).eps, default=None)


def _changed(after: Sequence[Any], before: Sequence[Any]) -> dict[int, torch.Tensor]:
    return {
        i: late.clone()
        for i, (late, early) in enumerate(zip(after, before, strict=True))
        if isinstance(late, torch.Tensor) and not same_bits(late, early)
    }
