"""Texts on disk under their content's id: one immutable file each, in sharded folders."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from kernelevolve.core.errors import UserError

_SYNC_THREADS = 8
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


class ObjectStore:
    """Files `<folder>/<first two digits of the id>/<id>`, written once, on disk when `put` returns."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._shards: set[str] = set()
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)

    def put(self, texts: Mapping[str, str]) -> None:
        """Write the texts, by id, that are not there yet. Raises `UserError` when the disk is full."""
        new = {key: text for key, text in texts.items() if not self._path(key).exists()}
        if not new:
            return
        with disk_errors(self._folder):
            self._make_shards({key[:2] for key in new})
            if len(new) == 1:
                for key, text in new.items():
                    self._write(key, text)
                    _sync_folder(self._path(key).parent)
                return
            with ThreadPoolExecutor(min(_SYNC_THREADS, len(new))) as threads:
                list(threads.map(self._write, new.keys(), new.values()))
                list(threads.map(_sync_folder, {self._path(key).parent for key in new}))

    def get(self, key: str) -> str:
        """Raises KeyError where there is none."""
        try:
            return self._path(key).read_bytes().decode()
        except FileNotFoundError:
            raise KeyError(key) from None

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / key

    def _make_shards(self, shards: set[str]) -> None:
        missing = shards - self._shards
        for shard in missing:
            (self._folder / shard).mkdir(exist_ok=True)
        if missing:
            _sync_folder(self._folder)
            self._shards |= missing

    def _write(self, key: str, text: str) -> None:
        # A reader, or the run after a crash, sees the whole file or none: it gets its name when its bytes are on disk.
        path = self._path(key)
        partial = path.with_name(f".{key}.partial")
        try:
            with partial.open("wb") as file:
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
            partial.rename(path)
        except OSError:
            partial.unlink(missing_ok=True)
            raise


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
