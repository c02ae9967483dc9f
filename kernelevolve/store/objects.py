"""Compressed texts by the id of their content, in the table `objects`.

Rows are written in the transaction that refers to them. A separate file for each text would need two syncs of the
disk where a batch of rows needs one.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Mapping

_LEVEL = 1
"""The compression level. Sources shrink to a third; higher levels cost more time than they save in writing."""


class ObjectTable:
    """The table of texts in the caller's database and transaction. Texts never change."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def put(self, texts: Mapping[str, str]) -> None:
        """Store the texts (id -> text) that are not stored yet."""
        rows = ((key, zlib.compress(text.encode(), _LEVEL)) for key, text in texts.items())
        self._db.executemany("INSERT OR IGNORE INTO objects VALUES (?, ?)", rows)

    def get(self, key: str) -> str:
        """Return a text. Raises KeyError for an unknown id."""
        row = self._db.execute("SELECT text FROM objects WHERE id = ?", (key,)).fetchone()
        if row is None:
            raise KeyError(key)
        return zlib.decompress(row[0]).decode()
