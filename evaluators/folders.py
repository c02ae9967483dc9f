"""Folders that processes of one user share and other users stay out of."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from kernelevolve.core.errors import UserError

_NAMES = 8


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
