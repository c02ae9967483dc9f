"""Private folders of a user, shared by the user's processes, and temporary folders that belong to one process."""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from evaluators.scratch import remove_tree
from kernelevolve.core.errors import UserError

_NAMES = 8
"""The number of names that are tried."""
_YOUNG_SECONDS = 60.0
"""The age in seconds below which a folder is never removed: its owner may not have locked it yet."""


def private_folder(base: Path, stem: str) -> Path:
    """Return the folder `<base>/<stem>-<uid>`, which only this user can access, and create it if it is missing.

    In a folder that everybody can write to, another user may already have taken the name. Then `<stem>-<uid>-1` is tried, and so on, so
    that all processes of a user find the same folder.

    Args:
        base: The folder in which it is.
        stem: The first part of its name.

    Raises:
        UserError: Other users have taken all of the names.
    """
    for number in range(_NAMES):
        folder = base / f"{stem}-{os.getuid()}{f'-{number}' if number else ''}"
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        found = folder.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid():
            if found.st_mode & 0o077:
                folder.chmod(0o700)
            return folder
    raise UserError(f"{base / stem}-{os.getuid()} and the names after it belong to other users: have them removed")


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
