"""Working on one task of a sweep: its run is a `kernelevolve run` or `kernelevolve resume` process of its own."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kernelevolve.cluster import ADDRESS_VARIABLE
from kernelevolve.core.child_process import module_command, python_path
from kernelevolve.core.errors import UserError
from kernelevolve.core.task import Task
from kernelevolve.report.files import write_text
from kernelevolve.report.folder import RunFolder
from kernelevolve.sweeping.folder import SweepFolder
from kernelevolve.sweeping.row import Ending, Row, row_of
from kernelevolve.tasks.catalog import find_task
from kernelevolve.tasks.kernelbench.source import problem_of

_MISTAKE = 2
"""The exit code of a run that was refused."""
_ENDED = (0, 1)
"""The exit codes of a run that came to its end."""
_GRACE_SECONDS = 30.0
"""The seconds that a run has to end after it was asked to."""


class StoppedError(Exception):
    """The sweep was interrupted before the task was done."""


@dataclass
class Worker:
    """Works on tasks, several of them in parallel threads."""

    folder: SweepFolder
    address: str
    """The address of the Ray that all runs share."""
    overrides: Sequence[str]
    """The settings of each run."""
    limit: float | None
    """The seconds after which a run is ended; None: no limit."""
    _running: set[subprocess.Popen[bytes]] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stopped: bool = False

    def stop(self) -> None:
        """Ask the runs to end. What they know is written, and no further run starts."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                process.terminate()

    def work(self, name: str) -> Row:
        """Work on a task until it is done, from where an earlier sweep stopped.

        Raises:
            StoppedError: `stop` was called.
        """
        if self._stopped:
            raise StoppedError
        try:
            task = find_task(name)
        except UserError as error:
            return Row(task=name, status=Ending.REFUSED, reason=str(error), problem=problem_of(name))
        path = self.folder.run(name)
        if not self._same_source(name, task):
            self.folder.remove_run(name)
        row = self._row(name, task)
        if row is not None:
            return row  # The sweep was killed between the end of the run and the row.
        half = RunFolder(path)
        if half.config_file.exists() and half.task_file.exists():
            code = self._command(name, "resume", str(path))
            row = self._ended(name, task, code)
            if row.status is not Ending.REFUSED:
                return row
        self.folder.remove_run(name)
        code = self._command(name, "run", *self.overrides, f"task={self.folder.task_file(name)}", f"run.dir={path}")
        return self._ended(name, task, code)

    def _same_source(self, name: str, task: Task) -> bool:
        """Write the file of the task, and return whether its run, if there is one, is of the same source."""
        file = self.folder.task_file(name)
        same = file.exists() and file.read_text(encoding="utf-8") == task.source
        if not same:
            write_text(file, task.source)
        return same

    def _row(self, name: str, task: Task) -> Row | None:
        return row_of(name, task.id, self.folder.run(name), self.folder.kernel(name), problem_of(name))

    def _ended(self, name: str, task: Task, code: int | None) -> Row:
        """Return the row of a run with its exit code; None: it took too long."""
        row = self._row(name, task) if code in _ENDED else None
        if row is not None:
            return row
        problem = problem_of(name)
        if code is None:
            reason = f"the run took longer than {self.limit:.0f} s (budget.seconds and sweep.patience); see {self.folder.log(name)}"
            return Row(task=name, task_id=task.id, status=Ending.TIMEOUT, reason=reason, problem=problem)
        said = _last_line(self.folder.log(name))
        if code == _MISTAKE:
            reason = said.removeprefix("kernelevolve: ").replace(f"task {self.folder.task_file(name).stem}", "task")
            return Row(task=name, task_id=task.id, status=Ending.REFUSED, reason=reason, problem=problem)
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        reason = f"the run ended by {how}: {said or 'without a message'}; see {self.folder.log(name)}"
        return Row(task=name, task_id=task.id, status=Ending.FAILED, reason=reason, problem=problem)

    def _command(self, name: str, command: str, *words: str) -> int | None:
        """Run a command of ours, and return its exit code; None if it took too long.

        It has a session of its own, so that Ctrl-C reaches the sweep alone, and it ends with the sweep.
        """
        tied = module_command("kernelevolve.core.tied", str(os.getpid()))
        environment = {**os.environ, "PYTHONPATH": python_path(), ADDRESS_VARIABLE: self.address}
        with self.folder.log(name).open("ab") as log:
            with self._lock:
                if self._stopped:
                    raise StoppedError
                process = subprocess.Popen(
                    [*tied, *module_command("kernelevolve", command), *words, "--quiet"],
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
                self._running.add(process)
            try:
                code: int | None = process.wait(self.limit)
            except subprocess.TimeoutExpired:
                code = None
                _end(process)
            finally:
                with self._lock:
                    self._running.discard(process)
        if self._stopped:
            raise StoppedError
        return code


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else ""
