"""The recording of a run's evaluations on disk, in order, for a replay of the run."""

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
"""The name of the file in a run's folder."""


class EvaluationRecording:
    """An append-only recording of evaluations. Call `close` in the end.

    Rough evaluations and failures that may be due to the machine are recorded as well, since a replay must get the same ones. Every method
    raises UserError if the file cannot be used. Only one thread at a time may use it.
    """

    def __init__(self, path: Path) -> None:
        """Open a recording. The file is created if it is missing."""
        self._path = path
        with self._errors():
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.execute("CREATE TABLE IF NOT EXISTS verdicts (number INTEGER PRIMARY KEY, key TEXT, verdict TEXT)")
            self._db.execute("CREATE INDEX IF NOT EXISTS by_kernel ON verdicts (key)")

    def put(self, evaluation: Evaluation, identity: str) -> None:
        """Append an evaluation. `identity` is the hash of the conditions besides the kernel, see `identity_of`."""
        with self._errors():
            row = (content_id(evaluation.kernel_id, identity), evaluation.model_dump_json())
            self._db.execute("INSERT INTO verdicts (key, verdict) VALUES (?, ?)", row)

    def get(self, kernel_id: str, identity: str, number: int) -> Evaluation | None:
        """Return a recorded evaluation of a kernel, marked as `cached`, or None.

        Args:
            kernel_id: The id of the kernel.
            identity: The hash of the conditions besides the kernel.
            number: The position among the kernel's evaluations under these conditions, from 0.
        """
        with self._errors():
            row = self._db.execute(
                "SELECT verdict FROM verdicts WHERE key = ? ORDER BY number LIMIT 1 OFFSET ?",
                (content_id(kernel_id, identity), number),
            ).fetchone()
        return None if row is None else Evaluation.model_validate_json(row[0]).model_copy(update={"cached": True})

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise UserError(f"evaluations cannot be recorded in, or read from, {self._path}: {error}") from error


class Replayed:
    """The evaluations of a recorded run, which are returned in the same order for each kernel."""

    def __init__(self, recording: EvaluationRecording) -> None:
        self._recording = recording
        self._asked: Counter[str] = Counter()

    def next(self, kernel_id: str, identity: str) -> Evaluation | None:
        """Return the next recorded evaluation of a kernel under these conditions, or None if there is no further one."""
        found = self._recording.get(kernel_id, identity, self._asked[kernel_id])
        self._asked[kernel_id] += 1
        return found

    def close(self) -> None:
        """Close the recording."""
        self._recording.close()
