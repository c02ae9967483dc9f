"""What the task's own code gives, computed in a player that runs nothing else: inputs, PyTorch's results, the float64 oracle."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from evaluators import tensors
from evaluators.correctness import bounds_of, compare
from evaluators.inputs.cases import DerivedCase, InputSettings, derived_cases
from evaluators.inputs.worth import worth_comparing
from kernelevolve.core.errors import UserError
from kernelevolve.core.record import Record
from kernelevolve.core.task import Task
from kernelevolve.tasks.loading import LoadedTask, build_model, draw_inputs, load_module

_TRIAL_STRIDE, _DRAW_STRIDE = 1000, 1_000_003
"""Between the seeds of trials, and of the draws that timed calls get."""


_HUGE_BYTES = 512 << 20
_OWN_SHARE = 0.5
"""Most of the room for errors that PyTorch's own result may take in a derived case."""


class AnswerSettings(Record):
    """How much is computed."""

    trials: int
    """Seeds of the main inputs."""
    most_draws: int
    """Of inputs for timed calls, for each set of shapes,"""
    draw_bytes: int
    """as long as they take no more than this (the first is there in any case, and a second unless it is huge)."""
    derived: InputSettings


def compute_answers(task: Task, folder: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The task's own cases, into `folder`. Returns what `reference.py` reads, or the task's error."""
    chosen = AnswerSettings.model_validate(settings)

    def compute(loaded: LoadedTask) -> dict[str, Any]:
        cases: list[dict[str, Any]] = []
        for variant in (None, *loaded.get_input_variants()):
            for trial in range(chosen.trials if variant is None else 1):
                cases.append(_case(loaded, variant, trial, folder, f"case{len(cases)}", chosen))
        return {"cases": cases, "init": _init(loaded)}

    return _told(task, compute)


def compute_derived(task: Task, folder: Path, settings: Mapping[str, Any], main: Mapping[str, Any]) -> dict[str, Any]:
    """Cases beyond the task's own, as `compute_answers`; `main`: what that told of the first case."""
    chosen = AnswerSettings.model_validate(settings)

    def compute(loaded: LoadedTask) -> dict[str, Any]:
        cases, notes = _derived(loaded, folder, chosen.derived, main)
        return {"cases": cases, "notes": notes}

    return _told(task, compute)


def _told(task: Task, compute: Callable[[LoadedTask], dict[str, Any]]) -> dict[str, Any]:
    try:
        return compute(load_module(task))
    except UserError as error:
        return {"error": str(error)}
    except (MemoryError, RuntimeError) as error:
        if "allocate" in str(error) or isinstance(error, MemoryError):
            return {"error": f"task {task.name}: it does not fit in memory; make the inputs smaller"}
        raise


def _label(variant: str | None, trial: int) -> str:
    if variant is not None:
        return f"variant {variant}"
    return "inputs" if trial == 0 else f"inputs, seed {trial}"


def _init(loaded: LoadedTask) -> list[dict[str, Any]] | None:
    torch.manual_seed(loaded.task.seed)
    try:
        return [tensors.encode(value) for value in loaded.get_init_inputs()]
    except TypeError:
        return None


def _case(
    loaded: LoadedTask, variant: str | None, trial: int, folder: Path, name: str, settings: AnswerSettings
) -> dict[str, Any]:
    seed = loaded.task.seed + _TRIAL_STRIDE * trial
    described = _write(draw_inputs(loaded, seed, variant), folder, f"{name}.draw0.in")
    arguments = _Arguments(folder, f"{name}.draw0.in", described)
    model = build_model(loaded, loaded.task.seed)
    before = _state(model)
    native, structure = _run(loaded, model, arguments, seed)
    if not native:
        raise UserError(f"task {loaded.task.name}: forward returns no tensor")
    stateful = not _agree(before, _state(model))
    if trial == 0:
        # A kernel cannot draw the reference's random numbers: forward must not depend on them, nor on what it did before.
        fresh = build_model(loaded, loaded.task.seed)
        _check_same(
            loaded, native, _run(loaded, fresh, arguments, seed + 7919)[0], "two runs on the same inputs differ"
        )
        _check_same(loaded, native, _run(loaded, fresh, arguments, seed)[0], "a second call gives another result")
    oracle = _oracle(loaded, arguments, native, steps=None)
    told = {
        "case": name,
        "variant": variant,
        "trial": trial,
        "label": _label(variant, trial),
        "inputs": described,
        "draws": 1 if trial else _draws(loaded, variant, folder, name, described, settings),
        "structure": structure,
        **_answers(folder, f"{name}.", native, oracle),
    }
    if variant is None and trial == 0:
        told["later"] = _later(loaded, arguments, folder, name, native, stateful)
    return told


def _derived(
    loaded: LoadedTask, folder: Path, settings: InputSettings, main: Mapping[str, Any]
) -> tuple[list[dict[str, Any]], list[str]]:
    """Cases beyond the task's own that the reference has a result for by which others can be judged; what was dropped, in words."""
    derived = derived_cases(loaded, settings)
    kept: list[dict[str, Any]] = []
    notes = list(derived.notes)
    for case in derived.cases:
        name = f"derived{len(kept)}"
        try:
            described = _write(case.inputs(), folder, f"{name}.draw0.in")
            arguments = _Arguments(folder, f"{name}.draw0.in", described)
            native, structure = _run(loaded, build_model(loaded, loaded.task.seed), arguments, loaded.task.seed)
        except (UserError, TypeError) as error:
            notes.append(f"{case.name}: dropped, {str(error).removeprefix(f'task {loaded.task.name}: ')}")
            continue
        oracle = _oracle(loaded, arguments, native, steps=None)
        conditions = _conditions(loaded, arguments, oracle) if oracle is not None else None
        why = _unfit(case, described, native, oracle, structure, main)
        if not why and oracle is not None and conditions is not None:
            bounds = (
                bounds_of(n, o, loaded.task.tolerance).widened(**moved).relaxed(_OWN_SHARE)
                for n, o, moved in zip(native, oracle, conditions, strict=True)
            )
            if any(compare(n, n, o, b, "") for n, o, b in zip(native, oracle, bounds, strict=True)):
                why = "PyTorch's own result is hardly right"
        if why:
            notes.append(f"{case.name}: dropped, {why}")
            continue
        told = {"case": name, "variant": None, "trial": 0, "label": case.name, "inputs": described, "draws": 1}
        told["conditions"] = conditions
        kept.append({**told, "structure": structure, **_answers(folder, f"{name}.", native, oracle)})
    return kept, notes


def _conditions(loaded: LoadedTask, arguments: _Arguments, oracle: Sequence[torch.Tensor]) -> list[dict[str, float]]:
    """How far each result moves, at most and by RMS, when every floating input is rounded differently: nobody can be asked for more."""
    generator = torch.Generator().manual_seed(loaded.task.seed)
    shaken = []
    for narrow, wide in zip(arguments(), arguments(wide=True), strict=True):
        if isinstance(narrow, torch.Tensor) and narrow.is_floating_point():
            signs = torch.randint(0, 2, wide.shape, generator=generator) * 2 - 1
            shaken.append(wide * (1 + signs * torch.finfo(narrow.dtype).eps))
        else:
            shaken.append(wide)
    found, _ = tensors.flatten(build_model(loaded, loaded.task.seed).double()(*shaken))
    moved = []
    for a, b in zip(found, oracle, strict=True):
        difference = (a.double() - b.double()).abs()
        difference = difference[difference.isfinite()]
        most = float(difference.max()) if difference.numel() else 0.0
        moved.append({"most": most, "rms": float(difference.square().mean().sqrt()) if difference.numel() else 0.0})
    return moved


def _unfit(
    case: DerivedCase,
    inputs: Sequence[Mapping[str, Any]],
    native: Sequence[torch.Tensor],
    oracle: Sequence[torch.Tensor] | None,
    structure: str,
    main: Mapping[str, Any],
) -> str:
    """Why nobody can be judged by a case."""
    if structure != main["structure"] or [t.dim() for t in native] != [len(m["shape"]) for m in main["native"]]:
        return "the results have another form"
    if (
        case.ties
        and any(not t.is_floating_point() for t in native)
        and any("float" in m.get("dtype", "") for m in inputs)
    ):
        return "positions among equal values may differ"
    if case.nonfinite and oracle is None:
        return "the reference does not run in float64"
    if not all(worth_comparing(n, o) for n, o in zip(native, oracle or native, strict=True)):
        return "PyTorch's own result is no good"
    return ""


class _Arguments:
    """Fresh copies of a case's inputs."""

    def __init__(self, folder: Path, prefix: str, described: Sequence[dict[str, Any]]) -> None:
        self._folder, self._prefix, self._described = folder, prefix, described

    def __call__(self, wide: bool = False) -> list[Any]:
        found = [tensors.load(m, self._folder / f"{self._prefix}{i}") for i, m in enumerate(self._described)]
        if not wide:
            return found
        return [x.double() if isinstance(x, torch.Tensor) and x.is_floating_point() else x for x in found]


def _write(values: Sequence[Any], folder: Path, prefix: str) -> list[dict[str, Any]]:
    return [tensors.save(value, folder / f"{prefix}{i}") for i, value in enumerate(values)]


def _answers(
    folder: Path, prefix: str, native: Sequence[torch.Tensor], oracle: Sequence[torch.Tensor] | None
) -> dict[str, Any]:
    def written(kind: str, values: Sequence[torch.Tensor]) -> list[dict[str, Any]]:
        return [tensors.save(t, folder / f"{prefix}{kind}{i}", contiguous=True) for i, t in enumerate(values)]

    return {"native": written("native", native), "oracle": written("oracle", oracle) if oracle is not None else None}


def _run(loaded: LoadedTask, model: nn.Module, arguments: _Arguments, seed: int) -> tuple[list[torch.Tensor], str]:
    name = loaded.task.name
    torch.manual_seed(seed)
    try:
        # Outputs may share memory with inputs, or with each other's.
        found, structure = tensors.flatten(model(*arguments()))
        return [t.clone() for t in found], structure
    except TypeError as error:
        raise UserError(f"task {name}: forward {error}; it must return tensors") from error
    except (MemoryError, RuntimeError, ValueError, IndexError, AttributeError, KeyError, AssertionError) as error:
        if "allocate" in str(error):
            raise
        line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"task {name}: forward raised {type(error).__name__}: {line}") from error


def _check_same(loaded: LoadedTask, first: Sequence[torch.Tensor], second: Sequence[torch.Tensor], what: str) -> None:
    if not _agree(first, second):
        raise UserError(f"task {loaded.task.name}: the reference is not deterministic: {what}")


def _agree(first: Sequence[torch.Tensor], second: Sequence[torch.Tensor]) -> bool:
    return len(first) == len(second) and all(
        a.shape == b.shape and torch.allclose(a.double(), b.double(), rtol=1e-5, atol=1e-6, equal_nan=True)
        for a, b in zip(first, second, strict=True)
    )


def _state(model: nn.Module) -> list[torch.Tensor]:
    return [tensor.clone() for tensor in model.state_dict().values() if isinstance(tensor, torch.Tensor)]


def _oracle(
    loaded: LoadedTask, arguments: _Arguments, native: Sequence[torch.Tensor], steps: int | None
) -> list[torch.Tensor] | None:
    """The results in float64, None where the model does not run in it. `steps`: calls before, then in evaluation mode."""
    if not any(t.is_floating_point() for t in native):
        return None
    try:
        model = build_model(loaded, loaded.task.seed).double()
        for _ in range(steps or 0):
            model(*arguments(wide=True))
        if steps is not None:
            model.eval()
        wide, _ = tensors.flatten(model(*arguments(wide=True)))
    except (RuntimeError, TypeError, ValueError):
        return None
    if [tuple(t.shape) for t in wide] != [tuple(t.shape) for t in native]:
        return None
    return [w.double() if n.is_floating_point() else n for w, n in zip(wide, native, strict=True)]


_STEPS = 2


def _later(
    loaded: LoadedTask, arguments: _Arguments, folder: Path, name: str, native: Sequence[torch.Tensor], stateful: bool
) -> dict[str, Any] | None:
    """The results in evaluation mode after some calls; None where they are those of the first call, as of most models."""
    model = build_model(loaded, loaded.task.seed)
    for _ in range(_STEPS):
        _run(loaded, model, arguments, loaded.task.seed)
    model.eval()
    later, structure = _run(loaded, model, arguments, loaded.task.seed)
    if not stateful and _agree(native, later):
        return None
    oracle = _oracle(loaded, arguments, later, steps=_STEPS)
    return {"steps": _STEPS, "structure": structure, **_answers(folder, f"{name}.later.", later, oracle)}


def _draws(
    loaded: LoadedTask,
    variant: str | None,
    folder: Path,
    name: str,
    described: Sequence[dict[str, Any]],
    settings: AnswerSettings,
) -> int:
    """Further inputs of the same shapes for timed calls; how many there are with the first."""
    size = sum((folder / f"{name}.draw0.in{i}").stat().st_size for i, m in enumerate(described) if "value" not in m)
    most = min(settings.most_draws, max(settings.draw_bytes // max(1, size), 2 if size < _HUGE_BYTES else 1))
    count = 1
    while count < most:
        values = draw_inputs(loaded, loaded.task.seed + _DRAW_STRIDE * count, variant)
        metas = _write(values, folder, f"{name}.draw{count}.in")
        if json.dumps(metas) != json.dumps(list(described)):
            break  # Shapes or plain values follow from chance: these calls would be other ones.
        count += 1
    return count
