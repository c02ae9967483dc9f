"""Starting our modules in processes of their own, with none of the user's keys, whatever files lie in the current folder."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The folder that contains our packages."""
_KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "CXX", "OMP_NUM_THREADS", "TZ")
"""The environment variables that a process which runs foreign code inherits."""


def scrubbed_environment(**further: str) -> dict[str, str]:
    """Return the environment of a process that runs foreign code: no keys, no settings of libraries.

    Args:
        further: Variables that are set beside the inherited ones.
    """
    return {name: value for name, value in os.environ.items() if name in _KEPT_VARIABLES} | further


def kill_group(group: int) -> None:
    """Kill a process group. One that is gone already is no error."""
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def module_command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs one of our modules.

    With `python_path()` as PYTHONPATH, the process imports nothing from the current folder.
    """
    return [sys.executable, "-P", "-m", module, *arguments]


def python_path() -> str:
    """Return a PYTHONPATH with our packages first, then the entries of the current PYTHONPATH.

    Entries are absolute. Empty ones, which stand for the current folder, are left out.
    """
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return os.pathsep.join(dict.fromkeys([str(ROOT), *(os.path.abspath(entry) for entry in given if entry)]))


def import_path() -> str:
    """Return this process's import path as a PYTHONPATH, without the current folder."""
    here = os.getcwd()
    entries = [str(ROOT), *(os.path.abspath(entry) for entry in sys.path if entry)]
    return os.pathsep.join(dict.fromkeys(entry for entry in entries if entry != here or entry == str(ROOT)))
