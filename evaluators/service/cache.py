"""The cache of this user's evaluations on disk. A kernel is not evaluated again under the same conditions."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kernelevolve.core.errors import UserError
from kernelevolve.core.evaluation import Evaluation, Status
from kernelevolve.core.private_folder import private_folder
from kernelevolve.core.record import content_id

_CERTAIN = frozenset(
    {
        Status.OK,
        Status.INVALID_SOURCE,
        Status.COMPILE_ERROR,
        Status.RUNTIME_ERROR,
        Status.WRONG_RESULT,
        Status.WRONG_SHAPE,
        Status.CHEATING,
    }
)
"""The statuses that are cached. Others may be due to the state of the machine."""
_PATIENCE_SECONDS = 60.0
"""The seconds to wait while another process uses the file."""
_FORGET_SHARE = 8
"""One in this number of evaluations is removed when the file is full."""


def cache_base() -> Path:
    """Return the user's cache folder. Raises UserError if it cannot be created."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    try:
        base = base.expanduser()
        base.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:
        raise UserError(f"{base} cannot be created ({error}): set XDG_CACHE_HOME, or evaluation.cache=off") from error
    return base


class EvaluationCache:
    """The cached evaluations, by kernel and identity.

    Several processes may use one file, but only one thread at a time may use an object. Every method raises UserError if the file cannot
    be used.
    """

    def __init__(self, base: Path, most_mb: int) -> None:
        """Open the cache in this user's private folder below `base`. The oldest evaluations are removed beyond `most_mb` MiB."""
        try:
            self.file = private_folder(base, "kernelevolve") / "verdicts.sqlite"
        except OSError as error:
            raise UserError(f"{base} cannot be used ({error.strerror}): fix it, or set evaluation.cache=off") from error
        self._most_bytes = most_mb << 20
        with self._errors():
            self._db = sqlite3.connect(
                self.file, timeout=_PATIENCE_SECONDS, check_same_thread=False, isolation_level=None
            )
            # The default rollback journal is used because the write-ahead log does not work in network file systems.
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS verdicts (number INTEGER PRIMARY KEY, key TEXT UNIQUE, verdict TEXT)"
            )

    def get(self, kernel_id: str, identity: str) -> Evaluation | None:
        """Return the stored evaluation, marked as `cached`, or None.

        Args:
            kernel_id: The id of the kernel.
            identity: The conditions of the evaluation besides the kernel, see `identity_of`.
        """
        with self._errors():
            row = self._db.execute(
                "SELECT verdict FROM verdicts WHERE key = ?", (content_id(kernel_id, identity),)
            ).fetchone()
        return None if row is None else Evaluation.model_validate_json(row[0]).model_copy(update={"cached": True})

    def put(self, evaluation: Evaluation, identity: str) -> None:
        """Store an evaluation if its status is certain and no check was omitted for lack of time. It is on disk when this returns."""
        timed_out = any(check.timed_out for check in evaluation.checks)
        if evaluation.status not in _CERTAIN or evaluation.cached or evaluation.rough or timed_out:
            return
        row = (content_id(evaluation.kernel_id, identity), evaluation.model_dump_json())
        with self._errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._make_room()
                self._db.execute("INSERT OR REPLACE INTO verdicts (key, verdict) VALUES (?, ?)", row)
                self._db.execute("COMMIT")
            except BaseException:
                self._db.rollback()
                raise

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _make_room(self) -> None:
        pages, free, size = (
            self._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
        if (pages - free) * size > self._most_bytes:
            count = self._db.execute("SELECT count(*) FROM verdicts").fetchone()[0]
            self._db.execute(
                "DELETE FROM verdicts WHERE number IN (SELECT number FROM verdicts ORDER BY number LIMIT ?)",
                (max(1, count // _FORGET_SHARE),),
            )

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise UserError(
                f"evaluations cannot be stored in {self.file} ({error}): fix or remove it, or set evaluation.cache=off"
            ) from error
