"""Starting Ray on this machine, or joining an existing cluster."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pydantic import Field

from kernelevolve.core.child_process import ROOT
from kernelevolve.core.errors import UserError
from kernelevolve.core.record import Record

ADDRESS_VARIABLE = "RAY_ADDRESS"
"""The environment variable that names the cluster to join."""
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",  # Errors of calls whose results are no longer needed, as after an interrupt.
}
"""Environment variables that silence Ray."""
PRIORITY = {"RAY_worker_niceness": "0"}
"""Environment variables of a local Ray. By default Ray lowers the priority of its workers, which would disturb
measurements.
"""


class ClusterSettings(Record):
    """The configuration group `cluster`."""

    address: str | None
    """The address of the cluster: `host:port` or `ray://...`. None: the one in RAY_ADDRESS if it is set, else a local
    Ray.
    """
    cpus: int | None = Field(ge=1)
    """The number of cores of a local Ray; None: all of them."""
    object_store_mb: int = Field(ge=80)
    """The size of the object store of a local Ray, in MiB."""


@contextmanager
def ray_session(settings: ClusterSettings, offered: Mapping[str, float] | None = None) -> Iterator[None]:
    """Initialise Ray for the duration of the block. If Ray already runs in this process, use it and leave it running.

    Args:
        settings: The cluster.
        offered: The resources of this machine that a local Ray does not find by itself, see `Device.offered`.

    Raises:
        UserError: The cluster cannot be joined, or the path of the temporary folder is too long for Ray's sockets.
        KeyboardInterrupt: SIGTERM arrived while Ray started. Ray's own handler would exit without a message.
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
                resources=dict(offered) if offered else None,
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
                f"the path {tempfile.gettempdir()} is too long for Ray's sockets: set TMPDIR to a shorter path"
            ) from error
        except SystemExit as exit_:
            raise KeyboardInterrupt from exit_
    try:
        yield
    finally:
        ray.shutdown()


class _Fixed(list[str]):
    """A list that ignores `extend`.

    Ray would add the driver's current folder to it, where a file may be called torch.py.
    """

    def extend(self, values: Iterable[str], /) -> None:
        del values


def _job() -> Any:
    from ray.job_config import JobConfig

    return JobConfig(_py_driver_sys_path=_Fixed([str(ROOT)]))
