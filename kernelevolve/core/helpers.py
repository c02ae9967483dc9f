"""Starting Python for our own modules in processes of their own, whatever files lie in the current folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The folder that our packages lie in."""


def module_command(module: str, *arguments: str) -> list[str]:
    """The command that runs a module of ours. With `python_path` as its PYTHONPATH it imports nothing from the current folder."""
    return [sys.executable, "-P", "-m", module, *arguments]


def python_path() -> str:
    """Our packages, then what PYTHONPATH names: absolute, and without the empty entries that stand for the current folder."""
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return os.pathsep.join(dict.fromkeys([str(ROOT), *(os.path.abspath(entry) for entry in given if entry)]))


def import_path() -> str:
    """What this process imports from, as a PYTHONPATH, without the current folder."""
    here = os.getcwd()
    entries = [str(ROOT), *(os.path.abspath(entry) for entry in sys.path if entry)]
    return os.pathsep.join(dict.fromkeys(entry for entry in entries if entry != here or entry == str(ROOT)))
