"""Starting Ray on this machine, or joining the cluster that is there; quietly."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import Field

from kernelevolve.core.errors import UserError
from kernelevolve.core.helpers import ROOT
from kernelevolve.core.record import Record

ADDRESS_VARIABLE = "RAY_ADDRESS"
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",  # Of calls whose answer nobody waits for any more, as after an interrupt.
}
PRIORITY = {"RAY_worker_niceness": "0"}
"""Of a Ray of our own: its workers measure, and by its default everything else on the machine would come before them."""


class ClusterSettings(Record):
    """The group `cluster` of the configuration."""

    address: str | None
    """`host:port` or `ray://...`; None: what RAY_ADDRESS names, or a Ray of our own."""
    cpus: int | None = Field(ge=1)
    """Cores of a Ray of our own; None: all."""
    object_store_mb: int = Field(ge=80)
    """Of a Ray of our own."""


@contextmanager
def ray_session(settings: ClusterSettings) -> Iterator[None]:
    """Ray for the length of the block. One that runs in this process already is used and left running.

    Raises UserError where the cluster cannot be joined, and where the path of the temporary folder is too long for Ray; KeyboardInterrupt
    where SIGTERM arrives while Ray starts: its own handler, which it sets first, would exit without a word.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        yield
        return
    address = settings.address or os.environ.get(ADDRESS_VARIABLE)
    if address:
        try:
            ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False, job_config=_job())
        except (ConnectionError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(
                f"cannot join the Ray cluster at {address} (cluster.address or {ADDRESS_VARIABLE}): {reason}"
            ) from error
        except SystemExit as exit_:
            raise KeyboardInterrupt from exit_
    else:
        for name, value in PRIORITY.items():
            os.environ.setdefault(name, value)
        try:
            ray.init(
                address="local",
                num_cpus=settings.cpus,
                object_store_memory=settings.object_store_mb << 20,
                include_dashboard=False,
                logging_level=logging.ERROR,
                log_to_driver=False,
                job_config=_job(),
            )
        except OSError as error:
            if "AF_UNIX path length" not in str(error):
                raise
            raise UserError(
                f"Ray's sockets would lie too deep in {tempfile.gettempdir()}: set TMPDIR to a shorter path"
            ) from error
        except SystemExit as exit_:
            raise KeyboardInterrupt from exit_
    try:
        yield
    finally:
        ray.shutdown()


class _Fixed(list[str]):
    """Folders that Ray adds none to: its workers would import from the driver's current folder, where a file may be called torch.py."""

    def extend(self, values: Iterable[str], /) -> None:
        del values


def _job() -> Any:
    from ray.job_config import JobConfig

    return JobConfig(_py_driver_sys_path=_Fixed([str(ROOT)]))
