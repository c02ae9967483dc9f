"""Private folders of a user, which all of the user's processes on a machine share."""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from kernelevolve.core.errors import UserError

_NAMES = 8
"""The number of names that are tried."""
_EVERYONES = Path("/tmp")
"""The folder of `machine_folder`, which does not depend on the environment."""


def machine_folder() -> Path:
    """Return the folder of what this user's processes on this machine tell each other. It is the same in every session.

    Raises UserError as `private_folder` does.
    """
    return private_folder(_EVERYONES if _EVERYONES.is_dir() else Path(tempfile.gettempdir()), "kernelevolve")


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
