"""Reporting a full disk below a run's folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kernelevolve.core.disk import no_space
from kernelevolve.core.errors import UserError


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turn a "no space left" error of a write below `folder` into a `UserError`."""
    with no_space(lambda error: full_disk(folder, os.strerror(error.errno or 0))):
        yield


def full_disk(folder: Path, reason: str) -> UserError:
    """Return the error for a run's folder on a full disk."""
    return UserError(
        f"the disk of {folder} is full ({reason.lower()}): what was inserted so far is kept;"
        " make room, then resume the run"
    )
