"""Runs of a sweep side by side: each is a `kernelevolve run` in a process of its own, all on one Ray."""

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
from kernelevolve.core.errors import UserError
from kernelevolve.core.helpers import module_command, python_path
from kernelevolve.report.folder import default_folder


def run_side_by_side(jobs: Sequence[tuple[Sequence[str], RunConfig]], at_a_time: int, *, quiet: bool) -> int:
    """`jobs`: (what was written, what it means). Each run's folder is `run.dir/<number>`, and its lines begin with that number.

    The first exit code that is not 0; then no further run begins. Raises UserError where the runs ask for different clusters.
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
                sweep.failed = True  # Ctrl-C reaches those that run; the others do not begin.
                raise
    return next((code for code in codes if code), 0)


def _joinable(stack: ExitStack, settings: ClusterSettings) -> str:
    """The address of the cluster that the settings name, or of a Ray of our own for the length of the stack."""
    stack.enter_context(ray_session(settings))
    address: str = ray.get_runtime_context().gcs_address
    return address


@dataclass
class _Sweep:
    folder: Path
    address: str
    quiet: bool
    failed: bool = False
    _printing: threading.Lock = field(default_factory=threading.Lock)

    def run(self, number: int, overrides: Sequence[str]) -> int:
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
