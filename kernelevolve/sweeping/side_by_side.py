"""Running a sweep in parallel: each run is a `kernelevolve run` process of its own, and all share one Ray."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import ray

from kernelevolve.cluster import ClusterSettings, ray_session
from kernelevolve.config import RunConfig
from kernelevolve.core.child_process import module_command, python_path
from kernelevolve.core.errors import UserError
from kernelevolve.report.folder import default_folder


def run_side_by_side(jobs: Sequence[tuple[Sequence[str], RunConfig]], at_a_time: int, *, quiet: bool) -> int:
    """Run several settings in parallel.

    Args:
        jobs: The overrides and the resulting settings of each run. Run number N uses the folder `run.dir/N`, and its
            output lines begin with `[N]`.
        at_a_time: The number of runs at the same time.
        quiet: Print only the results.

    Returns:
        The first exit code that is not 0, else 0. After a failure no further run starts.

    Raises:
        UserError: The runs ask for different clusters, or the folder exists.
    """
    clusters = {job.cluster for _, job in jobs}
    if len(clusters) > 1:
        raise UserError("runs side by side share one Ray: give all of them the same cluster settings")
    folder = Path(jobs[0][1].run.dir or default_folder("sweep"))
    if folder.exists():
        raise UserError(f"{folder} exists: choose another run.dir")
    with ExitStack() as stack:
        address = _joinable(stack, jobs[0][1].cluster)
        sweep = _Sweep(folder, address, quiet)
        with ThreadPoolExecutor(at_a_time) as pool:
            try:
                codes = list(pool.map(sweep.run, range(len(jobs)), [written for written, _ in jobs]))
            except BaseException:
                sweep.failed = True  # Ctrl-C reaches the running processes itself; the others must not start.
                raise
    return next((code for code in codes if code), 0)


def _joinable(stack: ExitStack, settings: ClusterSettings) -> str:
    """Return the address of the configured cluster, or of a local Ray that lives as long as the stack."""
    stack.enter_context(ray_session(settings))
    address: str = ray.get_runtime_context().gcs_address
    return address


@dataclass
class _Sweep:
    """The state that the runs of a sweep share."""

    folder: Path
    address: str
    quiet: bool
    failed: bool = False
    _printing: threading.Lock = field(default_factory=threading.Lock)

    def run(self, number: int, overrides: Sequence[str]) -> int:
        """Run one setting and return its exit code, or 0 without running it after a failure."""
        if self.failed:
            return 0
        further = [f"run.dir={self.folder / str(number)}", f"cluster.address={self.address}"]
        own = [text for text in overrides if not text.startswith(("run.dir=", "cluster."))]
        process = subprocess.Popen(
            [*module_command("kernelevolve", "run"), *own, *further, *(["--quiet"] if self.quiet else [])],
            env={**os.environ, "PYTHONPATH": python_path()},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        assert process.stdout is not None
        for line in process.stdout:
            with self._printing:
                print(f"[{number}] {line.rstrip()}", flush=True)
        code = process.wait()
        self.failed |= code != 0
        return code
