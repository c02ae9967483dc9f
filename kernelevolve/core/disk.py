"""A disk without room, as an error that a person can mend."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from kernelevolve.core.errors import UserError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def no_space(error_of: Callable[[OSError], UserError]) -> Iterator[None]:
    """Turn an error of the system that says "no space left" into a `UserError`. `error_of` makes it."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise error_of(error) from error
        raise
