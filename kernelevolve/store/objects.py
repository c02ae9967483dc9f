"""Texts under their content's id, compressed, in the table `objects`: on disk with the transaction that names them.

A file for each, on disk before the row that names it, costs two waits for the disk where a batch of rows costs one.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Mapping

_LEVEL = 1
"""Sources shrink to a third; a higher one takes longer than writing what it saves."""


class ObjectTable:
    """In the caller's database, and in its transaction. Texts stay as they were put first."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def put(self, texts: Mapping[str, str]) -> None:
        """Those that are not there yet, by id."""
        rows = ((key, zlib.compress(text.encode(), _LEVEL)) for key, text in texts.items())
        self._db.executemany("INSERT OR IGNORE INTO objects VALUES (?, ?)", rows)

    def get(self, key: str) -> str:
        """Raises KeyError where there is none."""
        row = self._db.execute("SELECT text FROM objects WHERE id = ?", (key,)).fetchone()
        if row is None:
            raise KeyError(key)
        return zlib.decompress(row[0]).decode()
