"""Measuring the finalists of a finished run again."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from rich.console import Console

from evaluators.service.comparison import Comparison
from evaluators.service.finals import compare_finalists
from evaluators.service.pipeline import Pipeline
from kernelevolve import config
from kernelevolve.config import RunConfig
from kernelevolve.core.errors import UserError
from kernelevolve.core.graph import Node
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.task import Task
from kernelevolve.report.best import write_best
from kernelevolve.report.figures import plan_text
from kernelevolve.report.files import write_json
from kernelevolve.report.folder import RunFolder
from kernelevolve.report.summary import Summary, table
from kernelevolve.report.winner import winner
from kernelevolve.store.reader import GraphReader

_CHANGEABLE = ("evaluation", "final")
"""The parts of the settings that may be changed. The others define what the run was."""


def measure(path: Path, overrides: Sequence[str] = (), *, quiet: bool = False) -> int:
    """Measure the fittest kernels of a run again, and rewrite `run.json` and `best/`.

    Args:
        path: The folder of the run.
        overrides: Settings for this measurement, such as `evaluation.final.max_seconds=5`.
        quiet: Print only the result.

    Returns:
        The exit code.

    Raises:
        UserError: There is nothing to measure, an override is illegal, or the measurement is impossible.
    """
    folder = RunFolder(path)
    stored, task = folder.load()
    settings = config.check(_changed(stored, overrides))
    summary = _summary(folder)
    finalists = _finalists(folder, settings)
    if not quiet:
        _say(plan_text(settings.evaluation.final, len(finalists), with_compile=settings.final.compile))
    begin = time.monotonic()
    compared = _compared(task, settings, [kernel for _, kernel in finalists], quiet=quiet)
    best = winner(finalists, compared)
    update = {
        "best": best,
        "final_note": "",
        "dropped": compared.failures,
        "seconds": {**summary.seconds, "final": time.monotonic() - begin},
    }
    summary = summary.model_copy(update=update)
    if best is not None:
        write_best(folder.best, task, next(k for _, k in finalists if k.id == best.kernel_id), best)
    write_json(folder.summary_file, summary.to_json())
    Console().print(table(summary, folder.path))
    return 0


def _changed(stored: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Apply overrides to the settings of a run. Raises UserError if a setting does not exist or must not be changed."""
    for override in overrides:
        name, equals, value = override.partition("=")
        first, *rest = name.split(".")
        section = stored.get(first)
        for part in rest[:-1]:
            section = section.get(part) if isinstance(section, dict) else None
        if (
            not equals
            or not rest
            or first not in _CHANGEABLE
            or not isinstance(section, dict)
            or rest[-1] not in section
        ):
            known = " and ".join(f"{part}.*" for part in _CHANGEABLE)
            raise UserError(f"{override}: only settings of {known} can be changed, as evaluation.final.max_seconds=5")
        section[rest[-1]] = yaml.safe_load(value)
    return stored


def _summary(folder: RunFolder) -> Summary:
    """Read the summary of the run. Raises UserError if there is none."""
    try:
        return Summary.from_json(json.loads(folder.summary_file.read_text()))
    except FileNotFoundError as error:
        raise UserError(
            f"{folder.path} has no run.json yet: `kernelevolve resume {folder.path}` completes the run"
        ) from error
    except (OSError, ValueError, ValidationError) as error:
        raise UserError(f"{folder.summary_file} cannot be read ({str(error).splitlines()[0]})") from error


def _finalists(folder: RunFolder, settings: RunConfig) -> list[tuple[Node, Kernel]]:
    """Return the fittest kernels, best first. Raises UserError if none is correct."""
    with closing(GraphReader(*folder.graph())) as reader:
        found = [(node, reader.kernel(node.kernel_id)) for node in reader.best(settings.final.candidates)]
    if not found:
        raise UserError(f"no kernel of {folder.path} is correct: there is nothing to measure")
    return found


def _compared(task: Task, settings: RunConfig, kernels: Sequence[Kernel], *, quiet: bool) -> Comparison:
    with closing(Pipeline(task, settings.device.build("device").placed().device, settings.evaluation)) as pipeline:
        note = pipeline.announce()
        if note and not quiet:
            _say(note)
        return compare_finalists(pipeline, kernels, with_compile=settings.final.compile)


def _say(note: str) -> None:
    print(f"kernelevolve: {note}", file=sys.stderr, flush=True)
