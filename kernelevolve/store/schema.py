"""The tables of a run's graph, and opening the database."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from kernelevolve.core.errors import UserError

GRAPH = "graph"
"""The name of the graph in a run's own folder."""
FORMAT = "4"
"""The version of the tables. It is raised with every incompatible change."""

_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE objects (id TEXT PRIMARY KEY, text BLOB NOT NULL);
CREATE TABLE kernels (
    id TEXT PRIMARY KEY,
    language TEXT NOT NULL,
    knobs TEXT NOT NULL,
    status TEXT NOT NULL,
    fitness REAL NOT NULL,
    evaluation TEXT NOT NULL,
    node TEXT NOT NULL,
    number INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX kernels_by_fitness ON kernels (fitness DESC, number) WHERE status = 'ok';
CREATE TABLE nodes (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    island INTEGER NOT NULL,
    step INTEGER NOT NULL,
    kernel TEXT NOT NULL,
    cached INTEGER NOT NULL,
    record TEXT NOT NULL,
    evaluation TEXT
);
CREATE INDEX nodes_by_step ON nodes (island, step);
CREATE TABLE edges (parent TEXT NOT NULL, child INTEGER NOT NULL, PRIMARY KEY (parent, child)) WITHOUT ROWID;
CREATE TABLE log (
    island INTEGER NOT NULL,
    position INTEGER NOT NULL,
    node TEXT NOT NULL,
    PRIMARY KEY (island, position)
) WITHOUT ROWID;
CREATE UNIQUE INDEX log_by_node ON log (island, node);
CREATE TABLE counters (name TEXT PRIMARY KEY, value REAL NOT NULL) WITHOUT ROWID;
"""


def database_of(folder: Path, name: str) -> Path:
    """Return the path of the database with the graph of that name."""
    return folder / f"{name}.sqlite"


def connect(path: Path) -> sqlite3.Connection:
    """Open a graph for writing, and create its tables if it is new. A commit is on disk when it returns.

    Raises:
        UserError: The file is not a graph, or has another format.
    """
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
            connection.executescript(f"BEGIN; {_TABLES} INSERT INTO meta VALUES ('format', '{FORMAT}'); COMMIT;")
        _check_format(connection, path)
    except BaseException as error:
        connection.close()
        if isinstance(error, sqlite3.DatabaseError) and error.sqlite_errorcode == sqlite3.SQLITE_NOTADB:
            raise UserError(f"{path} is not a run's graph: choose another run.dir") from error
        raise
    return connection


def connect_reading(path: Path) -> sqlite3.Connection:
    """Open an existing graph for reading, while another process may write it.

    Raises:
        UserError: The file is not a graph, or has another format.
    """
    if not path.is_file():
        raise UserError(f"{path.parent if path.stem == GRAPH else path} holds no run's graph")
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    try:
        _check_format(connection, path)
    except sqlite3.DatabaseError as error:
        connection.close()
        raise UserError(f"{path} is not a run's graph: {error}") from error
    except UserError:
        connection.close()
        raise
    return connection


def _check_format(connection: sqlite3.Connection, path: Path) -> None:
    row = connection.execute("SELECT value FROM meta WHERE key = 'format'").fetchone()
    if row is None or row[0] != FORMAT:
        found = row[0] if row else "unknown"
        raise UserError(
            f"{path} has format {found}, this version reads format {FORMAT}:"
            " use the version that wrote it, or another run.dir"
        )
