"""The data of a task on this machine: inputs and right answers of every case, computed once."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from evaluators.correctness.inputs.checks import (
    COMPILED,
    NONFINITE_VALUES,
    OTHER_PARAMETERS,
    OWN,
    SHAPES,
    VALUES,
    VARIANTS,
)
from evaluators.correctness.reference.probe import Probe, leak
from evaluators.correctness.uncertainty import Doubt
from evaluators.folders import private_folder
from evaluators.runtime import tensors
from evaluators.runtime.cpu.fork_server import ForkServer
from evaluators.runtime.cpu.runner_process import NonsenseError, Player, PlayerEndedError
from evaluators.runtime.device_lock import Gate
from evaluators.runtime.parameters import OtherParameters
from evaluators.scratch import disk_errors, full, scratch_base
from evaluators.settings import EvaluationSettings
from kernelevolve.core.errors import UserError
from kernelevolve.core.record import content_id
from kernelevolve.core.task import Task
from kernelevolve.tasks.structure import Plain, Structure

_FORMAT = "36"
_EAGER = "what the task has torch.compile compile is given back as it is: PyTorch runs it, and it is timed, without being compiled"
_KEPT_SECONDS = 6 * 3600.0
_IN_USE_SECONDS = 60.0
_KEPT_SHARE = 0.125
"""Of the memory of the machine, that data of tasks may take; what was not looked at for the longest time goes first."""


@dataclass(frozen=True)
class Answers:
    """PyTorch's own results and the float64 oracle, in files that no candidate can read."""

    folder: Path
    prefix: str
    native: tuple[Mapping[str, Any], ...]
    """Tensors, as `tensors.comparable` makes them, then plain numbers with a fraction, as tensors."""
    oracle: tuple[Mapping[str, Any], ...] | None
    """None where results are exact, or the reference does not run in float64."""
    structure: str
    """As `structure.described` tells it."""
    forms: tuple[tuple[str, tuple[int, ...]], ...] = ()
    """(dtype, shape) of each tensor, as it was returned."""
    values: tuple[Plain, ...] = ()
    """Plain results."""
    doubts: tuple[Mapping[str, Any], ...] = ()
    """`typical`, `rms`, and files of `places` and `values`, of each result: the fields of `Doubt`."""
    fresh: tuple[bool, ...] = ()
    """Whether each tensor lay in memory of its own."""
    roundings: int = 0
    """How many further roundings of every operation `doubts` rest on."""
    _mapped: dict[int, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict, compare=False, repr=False)

    def output(self, position: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(PyTorch's own result, oracle) of one output: the files, mapped once. Not to be written to."""
        if position not in self._mapped:
            native = tensors.load(self.native[position], self.folder / f"{self.prefix}native{position}")
            oracle = native
            if self.oracle is not None:
                oracle = tensors.load(self.oracle[position], self.folder / f"{self.prefix}oracle{position}")
            self._mapped[position] = native, oracle
        return self._mapped[position]

    def doubt(self, position: int) -> Doubt:
        """How far rounding alone moves one output. Not to be written to."""
        told = self.doubts[position]
        if "places" not in told:
            return Doubt(typical=told["typical"], rms=told["rms"])
        places, values = (
            tensors.load(told[name], self.folder / f"{self.prefix}{name}{position}") for name in ("places", "values")
        )
        return Doubt(places, values, told["typical"], told["rms"])


@dataclass(frozen=True)
class Effects:
    """Inputs that the reference changes in place, and what they hold afterwards."""

    positions: tuple[int, ...]
    answers: Answers


@dataclass(frozen=True)
class Later:
    """Results in evaluation mode after some calls, of a model that these change."""

    steps: int
    answers: Answers


@dataclass(frozen=True)
class Other:
    """Results on the main inputs of a model with other parameters."""

    parameters: OtherParameters
    answers: Answers


@dataclass(frozen=True)
class Case:
    """One set of inputs with its right answers."""

    name: str
    variant: str | None
    trial: int
    label: str
    """For people."""
    folder: Path
    inputs: tuple[Mapping[str, Any], ...]
    """Leaves of the arguments."""
    nesting: Structure
    """Of the list of arguments."""
    draws: int
    """Sets of values of the same shapes that timed calls get; the first is the one that the answers are for."""
    answers: Answers
    effects: Effects | None
    """None where the reference leaves its inputs as they are."""
    later: Later | None
    check: str
    """The check that it belongs to."""
    _mapped: dict[int, list[Any]] = field(default_factory=dict, compare=False, repr=False)

    def load(self, draw: int = 0) -> list[Any]:
        """The leaves of the arguments of forward: the files, mapped once. Not to be written to."""
        if draw not in self._mapped:
            self._mapped[draw] = [
                tensors.load(m, self.folder / f"{self.name}.draw{draw}.in{i}") for i, m in enumerate(self.inputs)
            ]
        return self._mapped[draw]


@dataclass(frozen=True)
class Reference:
    """A task's data on disk."""

    folder: Path
    cases: tuple[Case, ...]
    notes: tuple[str, ...]
    """What was derived from the task's inputs and why not more, in words."""
    left_out: Mapping[str, Sequence[str]]
    """By what a check looks at: derived inputs that it does without, and why."""
    overtime: frozenset[str]
    """Checks of which something was left out because time ran out."""
    other: Other | None
    """None where the reference has no parameters, or no results with others by which kernels can be judged."""
    init: Sequence[Mapping[str, Any]] | None
    """Arguments of the constructor as `tensors.encode` writes them; None where they cannot be written."""
    probe: Probe

    @property
    def main(self) -> Case:
        return self.cases[0]

    @property
    def variants(self) -> dict[str, Case]:
        return {case.variant: case for case in self.cases if case.variant is not None}

    def touch(self) -> None:
        """Keep the data from being forgotten. Raises FileNotFoundError where it is gone."""
        os.utime(self.folder)


def data_folder() -> Path:
    base = scratch_base()
    with disk_errors(base, "a folder"):
        return private_folder(base, "kernelevolve-data")


def reference_of(
    task: Task, settings: EvaluationSettings, server: ForkServer, probed: Callable[[Probe, bool], None]
) -> Reference:
    """Compute, or find, the reference data of a task. `probed` is told what a first look gave and whether the data was found.

    Raises UserError, one line, where the task is at fault: it raises, returns no tensors, is not deterministic, leaks, does not fit.
    """
    wanted = {
        "trials": settings.trials,
        "most_draws": settings.most_draws,
        "draw_bytes": settings.draw_mb << 20,
        "derived": {**settings.inputs.model_dump(), "seed": settings.seed},
    }
    folder = data_folder() / content_id(_FORMAT, task.id, json.dumps(wanted), torch.__version__)
    there = (folder / "told.json").exists() and not json.loads((folder / "told.json").read_text())["overtime"]
    if not there:
        _compute(task, settings, wanted, server, folder, lambda found: probed(found, False))
    found = read_reference(folder)
    if there:
        probed(found.probe, True)
    found.touch()
    return found


def read_reference(folder: Path) -> Reference:
    """What was computed into this folder."""
    told = json.loads((folder / "told.json").read_text())
    return Reference(
        folder=folder,
        cases=tuple(_case(folder, case) for case in told["cases"]),
        notes=tuple(told["notes"]),
        left_out=told["left_out"],
        overtime=frozenset(told["overtime"]),
        other=_other(folder, told.get("other")),
        init=told["init"],
        probe=Probe.model_validate(told["probe"]),
    )


def _case(folder: Path, told: Mapping[str, Any]) -> Case:
    name, later, after = told["case"], told.get("later"), told.get("after")
    own = VARIANTS if told["variant"] is not None else OWN
    return Case(
        name=name,
        variant=told["variant"],
        trial=told["trial"],
        label=told["label"],
        folder=folder,
        inputs=tuple(told["inputs"]),
        nesting=Structure.model_validate(told["nesting"]),
        draws=told["draws"],
        answers=_answers(folder, f"{name}.", told),
        effects=Effects(tuple(after["positions"]), _answers(folder, f"{name}.after.", after)) if after else None,
        check=told.get("check", own),
        later=Later(later["steps"], _answers(folder, f"{name}.later.", later)) if later else None,
    )


def _other(folder: Path, told: Mapping[str, Any] | None) -> Other | None:
    if told is None:
        return None
    return Other(OtherParameters.model_validate(told["parameters"]), _answers(folder, "other.", told))


def _answers(folder: Path, prefix: str, told: Mapping[str, Any]) -> Answers:
    oracle = told["oracle"]
    return Answers(
        folder,
        prefix,
        tuple(told["native"]),
        None if oracle is None else tuple(oracle),
        told["structure"],
        tuple((dtype, tuple(shape)) for dtype, shape in told["forms"]),
        tuple(told["values"]),
        tuple(told["doubts"]),
        tuple(told.get("fresh", ())),
        told.get("roundings", 0),
    )


def forget_old(folder: Path, most_bytes: float) -> None:
    """Remove data that no run has looked at for hours, and, from the oldest on, what is more than `most_bytes`: it lies in memory.

    Who still uses some of it has its files open, or computes them again.
    """
    found = []
    for each in folder.iterdir():
        with contextlib.suppress(OSError):
            size = sum(file.stat().st_size for file in each.iterdir())
            found.append((each.stat().st_mtime, size, each))
    kept = 0
    for looked_at, size, each in sorted(found, reverse=True):
        kept += size
        age = time.time() - looked_at
        if age > _KEPT_SECONDS or (kept > most_bytes and age > _IN_USE_SECONDS):
            shutil.rmtree(each, ignore_errors=True)


def _compute(
    task: Task,
    settings: EvaluationSettings,
    wanted: Mapping[str, Any],
    server: ForkServer,
    final: Path,
    probed: Callable[[Probe], None],
) -> None:
    forget_old(final.parent, _KEPT_SHARE * memory_gb("MemTotal") * (1 << 30))
    limit = 10 * settings.run_timeout
    what = f"the inputs and results of task {task.name}"
    with disk_errors(final.parent, what):
        staged = Path(tempfile.mkdtemp(prefix="new-", dir=final.parent))
    try:
        with (
            Gate(interruption=server.interruption).shared(),
            server.spawn(0, trusted=True, memory_gb=free_gb(), cpu_seconds=2 * limit * (os.cpu_count() or 1)) as player,
        ):
            order = {"task": task.model_dump_json(), "folder": str(staged), "settings": wanted}
            first = _probe(task, player, settings, staged)
            probed(first)
            try:
                told = dict(player.ask({"do": "answers", **order}, limit))
            except PlayerEndedError as error:
                raise _at_fault(task, error, limit, staged) from error
            except NonsenseError as error:
                raise UserError(f"task {task.name}: the reference failed: it wrote to its own channel") from error
            if "error" in told:
                raise UserError(told["error"])
            derived = _derived(player, {"do": "derived", "main": told["cases"][0]}, limit)
        told |= {
            "cases": [*told["cases"], *derived["cases"]],
            "notes": derived["notes"],
            "left_out": derived["left_out"] | ({COMPILED: [_EAGER]} if told.pop("made_eager") else {}),
            "overtime": derived["overtime"],
            "other": derived.get("other"),
            "probe": first.model_dump(),
        }
        with disk_errors(final.parent, what):
            (staged / "told.json").write_text(json.dumps(told))
        if final.exists():
            # Time had run out for some of it. Whoever uses it has its files open, or computes them again.
            shutil.rmtree(final, ignore_errors=True)
        try:
            staged.rename(final)
        except OSError:
            if not final.exists():  # Else another run was faster.
                raise
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _probe(task: Task, player: Player, settings: EvaluationSettings, folder: Path) -> Probe:
    limit = 2 * settings.run_timeout
    try:
        told = player.ask({"do": "probe", "task": task.model_dump_json()}, limit)
    except PlayerEndedError as error:
        if error.ending.timeout:
            raise UserError(
                f"task {task.name}: one call of the reference, with its inputs and its constructor, takes longer than {limit:g} s: "
                "make the inputs smaller, or raise evaluation.run_timeout"
            ) from error
        raise _at_fault(task, error, limit, folder) from error
    except NonsenseError as error:
        raise UserError(f"task {task.name}: the reference failed: it wrote to its own channel") from error
    if "failure" in told:
        raise UserError(told["failure"]["summary"])
    found = Probe.model_validate(told["probe"])
    if leak(task, found):
        raise UserError(leak(task, found))
    return found


def _derived(player: Player, order: Mapping[str, Any], limit: float) -> Mapping[str, Any]:
    """A task that does not survive what is tried to find further inputs is judged on its own."""
    try:
        told = player.ask(order, limit)
    except (PlayerEndedError, NonsenseError) as error:
        overtime = isinstance(error, PlayerEndedError) and error.ending.timeout
        return _nothing_derived(f"the process that tried ended ({error})", overtime=overtime)
    if "error" in told:
        return _nothing_derived(told["error"])
    return told


def _nothing_derived(why: str, *, overtime: bool = False) -> Mapping[str, Any]:
    checks = (SHAPES, VALUES, NONFINITE_VALUES, OTHER_PARAMETERS)
    return {
        "cases": [],
        "notes": [f"no inputs are derived: {why}"],
        "left_out": {check: [f"no inputs are derived: {why}"] for check in checks},
        "overtime": list(checks) if overtime else [],
    }


def _at_fault(task: Task, error: PlayerEndedError, limit: float, folder: Path) -> UserError:
    ending = error.ending
    if ending.timeout:
        return UserError(
            f"task {task.name}: the reference takes longer than {limit:g} s on all its inputs: "
            "make them smaller, or raise evaluation.run_timeout"
        )
    if ending.out_of_memory or ending.signal == 9:
        return UserError(f"task {task.name}: it does not fit in memory; make the inputs smaller")
    if "No space left on device" in ending.output:
        return full(folder.parent, f"the inputs and results of task {task.name}")
    last = ending.output.strip().splitlines()[-1:] or [f"it ended with {ending.signal_name}"]
    return UserError(f"task {task.name}: the reference failed: {last[0]}")


def free_gb() -> float:
    """That a trusted process may take."""
    return 0.8 * memory_gb("MemAvailable")


def memory_gb(kind: str) -> float:
    """Of the machine, a line of `/proc/meminfo`."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith(f"{kind}:"):
            return int(line.split()[1]) / (1 << 20)
    return 5.0
