"""Temporary folders that belong to one process."""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from evaluators.scratch import remove_tree

_YOUNG_SECONDS = 60.0
"""The age in seconds below which a folder is never removed: its owner may not have locked it yet."""


class OwnedFolder:
    """A temporary folder that belongs to this process.

    If the process is killed, the folder stays until another process creates one with the same stem, which removes abandoned folders.
    """

    def __init__(self, base: Path, stem: str) -> None:
        """Create the folder `<base>/<stem>-<random>`. Raises OSError if that is not possible."""
        _sweep(base, f"{stem}-")
        self.path = Path(tempfile.mkdtemp(prefix=f"{stem}-", dir=base)).resolve()
        self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def remove(self) -> None:
        """Remove the folder and its contents. Calling it again does nothing."""
        if self._lock >= 0:
            remove_tree(self.path)
            os.close(self._lock)
            self._lock = -1


def _sweep(base: Path, prefix: str) -> None:
    """Remove this user's folders with the prefix whose owners have ended."""
    with os.scandir(base) as entries:
        found = [Path(entry.path) for entry in entries if entry.name.startswith(prefix)]
    for folder in found:
        with suppress(OSError):
            seen = folder.lstat()
            if seen.st_uid != os.getuid() or time.time() - seen.st_mtime < _YOUNG_SECONDS:
                continue
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove_tree(folder)
            finally:
                os.close(lock)
