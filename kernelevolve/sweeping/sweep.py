"""Working through many tasks: this module connects the parts of a sweep."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from pathlib import Path

import ray

from kernelevolve import config
from kernelevolve.cluster import ray_session
from kernelevolve.core.errors import UserError
from kernelevolve.interrupts import Interrupts
from kernelevolve.report.figures import ratio_text
from kernelevolve.sweeping.folder import SweepFolder
from kernelevolve.sweeping.kernelbench_results import write_kernelbench_results
from kernelevolve.sweeping.one_task import Worker
from kernelevolve.sweeping.row import Ending, Row
from kernelevolve.sweeping.settings import SweepConfig

INTERRUPTED = 130
_GLANCE_SECONDS = 0.5
"""The seconds between two checks for an interrupt."""
_CONNECT_SECONDS = 5.0
"""The seconds after which a Ray that does not answer counts as gone."""
_NOT_COMPARED = ("task", "cluster")
"""Parts of the settings that may change when a sweep goes on: they do not change what a run is."""


def sweep(settings: SweepConfig, tasks: Sequence[str]) -> tuple[Row, ...] | None:
    """Work through tasks, each in a run of its own. Tasks that an earlier sweep of the folder has done are not run again.

    Args:
        settings: The settings of the sweep.
        tasks: The full names of the tasks.

    Returns:
        The rows of the tasks in their order; None if the sweep was interrupted.

    Raises:
        UserError: The folder cannot be used, or Ray cannot be started or has ended.
    """
    folder = SweepFolder(Path(settings.sweep.dir))
    plain = {name: part for name, part in config.dump(settings.run).items() if name not in _NOT_COMPARED}
    with folder.open(plain, tasks):
        rows = folder.rows()
        if settings.sweep.retry:
            for task in tasks:
                if task in rows and not rows[task].correct:
                    folder.remove_run(task)
                    del rows[task]
        left = [task for task in tasks if task not in rows]
        _say(f"{len(tasks)} tasks in {folder.path}" + (f", {len(tasks) - len(left)} of them done" if rows else ""))
        try:
            if left:
                done = len(tasks) - len(left)
                for row in _work_through(settings, folder, left):
                    folder.add(row)
                    rows[row.task] = row
                    done += 1
                    _say(f"[{done}/{len(tasks)}] {row.task}: {_news(row)}")
        except KeyboardInterrupt:
            _say(f"interrupted; the same command goes on with the sweep in {folder.path}")
            return None
        finally:
            write_kernelbench_results(folder.path / "kernelbench", folder.in_order(rows))
    return tuple(rows[task] for task in tasks)


def _work_through(settings: SweepConfig, folder: SweepFolder, tasks: Sequence[str]) -> Iterator[Row]:
    """Yield the row of each task when it is done."""
    seconds = settings.run.budget.seconds
    limit = None if seconds is None else seconds + settings.sweep.patience
    interrupts = Interrupts()
    with ExitStack() as stack:
        stack.enter_context(ray_session(settings.run.cluster))
        stack.enter_context(interrupts.listen())  # After Ray, which sets a handler of its own.
        address: str = ray.get_runtime_context().gcs_address
        worker = Worker(folder, address, settings.overrides, limit)
        pool = stack.enter_context(ThreadPoolExecutor(settings.sweep.at_a_time))
        with _stopping(worker, pool):
            pending: set[Future[Row]] = {pool.submit(worker.work, task) for task in tasks}
            while pending:
                interrupts.check()
                done, pending = wait(pending, _GLANCE_SECONDS, return_when="FIRST_COMPLETED")
                for future in done:
                    row = future.result()
                    if row.status in list(Ending) and not _answers(address):
                        raise UserError("the Ray that the sweep's runs share has ended: the same command goes on")
                    yield row


@contextmanager
def _stopping(worker: Worker, pool: ThreadPoolExecutor) -> Iterator[None]:
    """End the runs that are under way if the block raises."""
    try:
        yield
    except BaseException:
        worker.stop()
        pool.shutdown(wait=True, cancel_futures=True)
        raise


def _answers(address: str) -> bool:
    """Return whether something listens at the address of a Ray."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), _CONNECT_SECONDS):
            return True
    except OSError:
        return False


def _news(row: Row) -> str:
    if not row.correct:
        return f"{row.status}: {row.reason}"
    figures = ratio_text(row.speedup) if row.speedup else f"not measured: {row.reason}"
    return f"{figures}{f', {ratio_text(row.over_compile)} over torch.compile' if row.over_compile else ''}"


def _say(text: str) -> None:
    print(f"kernelevolve: {text}", file=sys.stderr, flush=True)
