"""Folders that processes of one user share and other users stay out of, and such as end with their process."""

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
_YOUNG_SECONDS = 60.0
"""Between making a folder and locking it nobody takes it for abandoned."""


def private_folder(base: Path, stem: str) -> Path:
    """`<base>/<stem>-<uid>`, made where it is missing, for this user alone.

    Anybody can take a name in a folder that everybody writes to: a folder of another user, or a link, is left alone, and the name
    with a number behind it is next. Every process of a user comes to the same folder so. Raises UserError where no name is left.
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
    """A temporary folder of this process. A killed process leaves its own behind: whoever makes the next one of its kind removes it."""

    def __init__(self, base: Path, stem: str) -> None:
        """`<base>/<stem>-<random>`. Raises OSError where it cannot be made."""
        _sweep(base, f"{stem}-")
        self.path = Path(tempfile.mkdtemp(prefix=f"{stem}-", dir=base)).resolve()
        self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def remove(self) -> None:
        """With all that is in it. Once more does nothing."""
        if self._lock >= 0:
            remove_tree(self.path)
            os.close(self._lock)
            self._lock = -1


def _sweep(base: Path, prefix: str) -> None:
    """Remove this user's folders of the kind whose owners are dead."""
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
