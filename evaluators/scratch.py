"""The scratch folder through which processes exchange inputs and results. It is in memory (`/dev/shm`) where the system has that."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kernelevolve.core.disk import no_space
from kernelevolve.core.errors import UserError

_SHARED_MEMORY = Path("/dev/shm")
_MIB = 1 << 20


def scratch_base() -> Path:
    """Return `/dev/shm`, or the temporary folder of the system if there is none."""
    return _SHARED_MEMORY if _SHARED_MEMORY.is_dir() else Path(tempfile.gettempdir())


def full(folder: Path, what: str) -> UserError:
    """Return the error that says that a folder has no room.

    Args:
        folder: The folder.
        what: A text that says what has no room in it.
    """
    shared = folder.is_relative_to(_SHARED_MEMORY)
    usage = shutil.disk_usage(folder)
    place = f"{_SHARED_MEMORY if shared else folder} ({usage.free / _MIB:.1f} of {usage.total / _MIB:.1f} MiB free)"
    enlarge = ", or enlarge it: mount -o remount,size=4G /dev/shm, docker run --shm-size=4g" if shared else ""
    return UserError(f"no room in {place} for {what}: make room there{enlarge}")


@contextmanager
def disk_errors(folder: Path, what: str) -> Iterator[None]:
    """Turn a "no space left" error of a write below `folder` into a `UserError` that says what had no room."""
    with no_space(lambda _: full(folder, what)):
        yield


def remove_tree(folder: Path) -> None:
    """Remove a folder and its contents, of any depth and with any permissions. A missing folder is not an error.

    No other process may write there meanwhile. Entries that cannot be removed stay. Nested folders are moved up to the top instead of
    being visited recursively, so the depth has no limit.
    """
    try:
        top = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return
    try:
        left = _emptied(top, top)
        while left:
            name = left.pop()
            with suppress(OSError):
                below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=top)
                try:
                    left += _emptied(below, top)
                finally:
                    os.close(below)
                os.rmdir(name, dir_fd=top)
    finally:
        os.close(top)
    with suppress(OSError):
        folder.rmdir()


def _emptied(below: int, top: int) -> list[str]:
    """Remove the files of the folder `below` and move its folders to `top`. Return the new names of the folders."""
    moved: list[str] = []
    for name in os.listdir(below):
        with suppress(OSError):
            if not stat.S_ISDIR(os.stat(name, dir_fd=below, follow_symlinks=False).st_mode):
                os.unlink(name, dir_fd=below)
                continue
            os.chmod(name, 0o700, dir_fd=below)
            target = f".{os.urandom(12).hex()}"
            os.rename(name, target, src_dir_fd=below, dst_dir_fd=top)
            moved.append(target)
    return moved
