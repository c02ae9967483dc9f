"""Reporting a full disk as an error that the user can fix."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from kernelevolve.core.errors import UserError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def no_space(error_of: Callable[[OSError], UserError]) -> Iterator[None]:
    """Turn an OSError that means "no space left" into the `UserError` that `error_of` returns."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise error_of(error) from error
        raise
