"""A disk without room, as an error that says so."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kernelevolve.core.errors import UserError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turn "no space left", from a write below `folder`, into a `UserError` that says so."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise full_disk(folder, os.strerror(error.errno)) from error
        raise


def full_disk(folder: Path, reason: str) -> UserError:
    """The error for a run folder that takes no more bytes."""
    return UserError(
        f"the disk of {folder} is full ({reason.lower()}): what was inserted so far is kept;"
        " make room, then resume the run"
    )
