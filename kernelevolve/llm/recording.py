"""The exchanges of a run with models, on disk.

The recording is the basis of the budget's account, and a later run can be replayed from it.
"""

from __future__ import annotations

import sqlite3
import zlib
from pathlib import Path

from pydantic import ValidationError

from kernelevolve.core.errors import UserError
from kernelevolve.core.record import Record
from kernelevolve.core.usage import Usage
from kernelevolve.llm.errors import MissingExchangeError
from kernelevolve.llm.exchange import Exchange
from kernelevolve.llm.messages import Completion, Request

_VERSION = 3
_SCHEMA = """
CREATE TABLE exchanges (
    number INTEGER PRIMARY KEY, model TEXT NOT NULL, key TEXT NOT NULL, purpose TEXT NOT NULL,
    request BLOB NOT NULL, completion BLOB NOT NULL,
    tokens INTEGER NOT NULL, cost REAL NOT NULL, attempts INTEGER NOT NULL, seconds REAL NOT NULL
);
CREATE INDEX by_content ON exchanges (model, key);
"""
FILE = "exchanges.sqlite"
"""The name of the file in a run's folder."""


class Share(Record):
    """The part of a run's exchanges that belongs to one model and one island."""

    model: str
    island: str
    """The number of the island; empty for requests that were not for a node."""
    exchanges: int = 0
    usage: Usage = Usage()


class Recording:
    """An insert-only database of exchanges, for use in one thread."""

    def __init__(self, path: Path, *, write: bool) -> None:
        """Open a recording.

        Args:
            path: The file.
            write: Whether it is opened for writing, and created if it does not exist.

        Raises:
            UserError: The file cannot be opened, or is not a recording.
        """
        if not write and not path.is_file():
            raise UserError(f"there is no recording {path}")
        self._path = path
        try:
            self._db = sqlite3.connect(path, isolation_level=None)
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if write and version == 0:
                self._db.executescript(f"PRAGMA journal_mode = WAL; {_SCHEMA} PRAGMA user_version = {_VERSION};")
                version = _VERSION
            self._db.execute("PRAGMA synchronous = NORMAL")
        except sqlite3.Error as error:
            raise UserError(f"{path} cannot be opened as a recording: {error}") from error
        if version != _VERSION:
            self._db.close()
            raise UserError(f"{path} is no recording of version {_VERSION}")

    def put(self, exchange: Exchange, request: Request, purpose: str) -> int:
        """Store an exchange.

        Args:
            exchange: The exchange.
            request: The request that it answers.
            purpose: The id of the node that it was for.

        Returns:
            The number of the exchange.

        Raises:
            UserError: The disk is full.
        """
        packed = [zlib.compress(text.encode(), 1) for text in (request.text, exchange.completion.model_dump_json())]
        row = self._inserted(
            "INSERT INTO exchanges (model, key, purpose, request, completion, tokens, cost, attempts, seconds)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                exchange.model,
                request.key,
                purpose,
                *packed,
                exchange.completion.tokens.total,
                exchange.cost,
                exchange.attempts,
                exchange.seconds,
            ),
        )
        return int(row.lastrowid or 0)

    def _inserted(self, statement: str, values: tuple[object, ...]) -> sqlite3.Cursor:
        try:
            return self._db.execute(statement, values)
        except sqlite3.OperationalError as error:
            raise UserError(
                f"{self._path}: {error}; make room, then `kernelevolve resume` continues the run"
            ) from error

    def find(self, model: str, request: Request) -> tuple[Completion, float]:
        """Return the first answer to a request with this content, and its cost. Raises MissingExchangeError."""
        row = self._db.execute(
            "SELECT completion, cost FROM exchanges WHERE model = ? AND key = ? ORDER BY number LIMIT 1",
            (model, request.key),
        ).fetchone()
        if row is None:
            held = self._db.execute("SELECT count(*) FROM exchanges WHERE model = ?", (model,)).fetchone()[0]
            raise MissingExchangeError(
                f"the recording lacks this exchange with {model}, of which it holds {held}: "
                "it was made with other settings, or after other evaluations"
            )
        try:
            return Completion.model_validate_json(zlib.decompress(row[0])), float(row[1])
        except (ValidationError, zlib.error) as error:
            raise MissingExchangeError(f"the recording holds an exchange with {model} that cannot be read") from error

    def exchange(self, number: int) -> tuple[str, Request, Completion]:
        """Return the model, the request and the completion of an exchange. Raises KeyError."""
        row = self._db.execute(
            "SELECT model, request, completion FROM exchanges WHERE number = ?", (number,)
        ).fetchone()
        if row is None:
            raise KeyError(number)
        return (
            row[0],
            Request.model_validate_json(zlib.decompress(row[1])),
            Completion.model_validate_json(zlib.decompress(row[2])),
        )

    def spent(self, purpose: str = "") -> Usage:
        """Return the usage of all exchanges whose purpose starts with a text."""
        tokens, cost = self._db.execute(
            "SELECT coalesce(sum(tokens), 0), coalesce(sum(cost), 0.0) FROM exchanges WHERE substr(purpose, 1, ?) = ?",
            (len(purpose), purpose),
        ).fetchone()
        return Usage(tokens=int(tokens), cost=float(cost))

    def shares(self) -> list[Share]:
        """Return the usage by model and island."""
        rows = self._db.execute("SELECT model, purpose, count(*), sum(tokens), sum(cost) FROM exchanges GROUP BY 1, 2")
        found: dict[tuple[str, str], Share] = {}
        for model, purpose, count, tokens, cost in rows:
            island = purpose.rsplit(".", 2)[-2] if purpose.count(".") >= 2 else ""
            usage = Usage(tokens=int(tokens), cost=float(cost))
            before = found.get((model, island), Share(model=model, island=island))
            found[model, island] = before.model_copy(
                update={"exchanges": before.exchanges + count, "usage": before.usage + usage}
            )
        return [found[key] for key in sorted(found)]

    def count(self) -> int:
        """Return the number of exchanges."""
        return int(self._db.execute("SELECT count(*) FROM exchanges").fetchone()[0])

    def models(self) -> list[str]:
        """Return the names of the models that have exchanges."""
        return [row[0] for row in self._db.execute("SELECT DISTINCT model FROM exchanges ORDER BY model")]

    def close(self) -> None:
        """Close the database. Exchanges are stored even without this call."""
        self._db.close()
