"""A disk without room, as an error that says so."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kernelevolve.core.disk import no_space
from kernelevolve.core.errors import UserError


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turn "no space left", from a write below `folder`, into a `UserError` that says so."""
    with no_space(lambda error: full_disk(folder, os.strerror(error.errno or 0))):
        yield


def full_disk(folder: Path, reason: str) -> UserError:
    """The error for a run folder that takes no more bytes."""
    return UserError(
        f"the disk of {folder} is full ({reason.lower()}): what was inserted so far is kept;"
        " make room, then resume the run"
    )
