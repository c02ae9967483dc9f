"""Every verdict that a run was given, in order, on disk: what a replay of it is given again."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kernelevolve.core.errors import UserError
from kernelevolve.core.evaluation import Evaluation
from kernelevolve.core.record import content_id

VERDICTS = "verdicts.sqlite"
"""Its name in a run's folder."""


class VerdictRecording:
    """Insert-only. Guesses are kept as well, and what may be the machine's fault: another verdict would be another run. `close` it.

    Every method raises UserError where the file cannot be used. One thread at a time.
    """

    def __init__(self, path: Path) -> None:
        """It is made where it is not there."""
        self._path = path
        with self._errors():
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.execute("CREATE TABLE IF NOT EXISTS verdicts (number INTEGER PRIMARY KEY, key TEXT, verdict TEXT)")
            self._db.execute("CREATE INDEX IF NOT EXISTS by_kernel ON verdicts (key)")

    def put(self, evaluation: Evaluation, identity: str) -> None:
        """Keep a verdict; `identity`: what it rests on besides the kernel."""
        with self._errors():
            row = (content_id(evaluation.kernel_id, identity), evaluation.model_dump_json())
            self._db.execute("INSERT INTO verdicts (key, verdict) VALUES (?, ?)", row)

    def get(self, kernel_id: str, identity: str, number: int) -> Evaluation | None:
        """The verdict that was given when the kernel was judged for the time of this number, from 0 on, marked as `cached`."""
        with self._errors():
            row = self._db.execute(
                "SELECT verdict FROM verdicts WHERE key = ? ORDER BY number LIMIT 1 OFFSET ?",
                (content_id(kernel_id, identity), number),
            ).fetchone()
        return None if row is None else Evaluation.model_validate_json(row[0]).model_copy(update={"cached": True})

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise UserError(f"verdicts cannot be recorded in, or read from, {self._path}: {error}") from error


class Replayed:
    """The verdicts of a recorded run, each kernel's in turn."""

    def __init__(self, recording: VerdictRecording) -> None:
        self._recording = recording
        self._asked: Counter[str] = Counter()

    def next(self, kernel_id: str, identity: str) -> Evaluation | None:
        """None where the recorded run was given no further one of this kernel under these conditions."""
        found = self._recording.get(kernel_id, identity, self._asked[kernel_id])
        self._asked[kernel_id] += 1
        return found

    def close(self) -> None:
        self._recording.close()
