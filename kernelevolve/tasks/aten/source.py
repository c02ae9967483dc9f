"""Operators of PyTorch's OpInfo database by name: `aten:softmax`, `aten:softmax@bfloat16`, `aten:softmax.int`."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from difflib import get_close_matches
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

from kernelevolve.core.child_process import module_command, python_path
from kernelevolve.core.errors import UserError
from kernelevolve.core.task import Task
from kernelevolve.tasks.source import TaskSource, TaskSummary

PREFIX = "aten:"
_NEEDED = "expecttest"
"""The package that PyTorch's database imports, beside PyTorch."""
_SECONDS = 300.0
"""The seconds that making a task may take."""


class AtenTasks(TaskSource):
    """Tasks by the name of an operator: as the database has it, or with an overload as ATen has it; `@DTYPE` chooses the dtype.

    The task is made from the database by a process of its own, the same one each time for the same version of PyTorch.
    """

    def list(self) -> tuple[TaskSummary, ...]:
        return ()

    def groups(self) -> tuple[TaskSummary, ...]:
        how = "" if _readable() else " (install kernelevolve[aten])"
        return (
            TaskSummary(name=PREFIX, summary=f"Operators of PyTorch's OpInfo database, such as aten:softmax{how}."),
        )

    def members(self, group: str) -> tuple[TaskSummary, ...] | None:
        if group != PREFIX:
            return None
        return tuple(
            TaskSummary(name=f"{PREFIX}{name}", summary=", ".join(dtypes)) for name, dtypes in sorted(_names().items())
        )

    def full_name(self, name: str) -> str | None:
        if not name.startswith(PREFIX):
            return None
        operator, _, dtype = name.removeprefix(PREFIX).partition("@")
        known = _names().get(operator)
        if known is not None and (not dtype or dtype in known):
            return name
        task = self.find(name)
        return None if task is None else task.name

    def find(self, name: str) -> Task | None:
        if not name.startswith(PREFIX):
            return None
        operator, at, dtype = name.removeprefix(PREFIX).partition("@")
        if not operator or (at and not dtype):
            raise UserError(f"no task '{name}': write aten:OPERATOR or aten:OPERATOR@DTYPE, as aten:softmax@bfloat16")
        made = _made(operator, dtype)
        if "unknown" in made:
            near = get_close_matches(operator, _names(), n=1)
            hint = f"; did you mean {PREFIX}{near[0]}?" if near else ";"
            raise UserError(f"'{name}': {made['unknown']}{hint} `kernelevolve tasks list {PREFIX}` shows the operators")
        if "refused" in made:
            raise UserError(f"'{name}' cannot become a task: {made['refused']}")
        return Task(name=name, source=made["source"])


def _readable() -> bool:
    return find_spec(_NEEDED) is not None


@lru_cache(maxsize=1)
def _names() -> Mapping[str, Any]:
    """Return the names of the database, each with the dtypes that the operator supports on a CPU."""
    return _asked("names")


@lru_cache(maxsize=1024)
def _made(operator: str, dtype: str) -> Mapping[str, Any]:
    """Return the source of a task, why it is refused, or why the name is unknown."""
    found = _asked("make", operator, dtype)
    # An operator that does not check the sizes that it gets may end the process while they are enlarged.
    return _asked("make-as-it-is", operator, dtype) if "crashed" in found else found


def _asked(*words: str) -> Mapping[str, Any]:
    """Return what the process that reads the database writes as its last line."""
    if not _readable():
        raise UserError(f"PyTorch's operator database needs {_NEEDED}: pip install 'kernelevolve[aten]'")
    environment = {**os.environ, "PYTHONPATH": python_path(), "CUDA_VISIBLE_DEVICES": ""}
    command = module_command("kernelevolve.tasks.aten.making", *words)
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, errors="replace", timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return {"refused": f"it took longer than {_SECONDS:.0f} s to try its sample"}
    lines = done.stdout.strip().splitlines()
    if done.returncode < 0 or not lines:
        reason = f"signal {-done.returncode}" if done.returncode < 0 else f"exit code {done.returncode}"
        said = (done.stderr.strip().splitlines() or ["no message"])[-1]
        crash = f"the process that tried its sample ended by {reason} ({said})"
        return {"refused": crash, "crashed": crash}
    found: Mapping[str, Any] = json.loads(lines[-1])
    return found
