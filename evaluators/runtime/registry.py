"""Which runtime runs kernels."""

from __future__ import annotations

from devices.cpu import usable_cores
from evaluators.runtime.base import Runtime
from evaluators.runtime.cpu.fork_server import ForkServer
from evaluators.runtime.cpu.runtime import CpuRuntime
from evaluators.settings import EvaluationSettings


def open_runtime(settings: EvaluationSettings) -> Runtime:
    """A runtime for these settings, not started yet; `close` it. Raises UserError where there is no room for its files."""
    return cpu_runtime(settings)


def cpu_runtime(settings: EvaluationSettings, server: type[ForkServer] = ForkServer) -> CpuRuntime:
    """The runtime of this machine's processor. `server`: the class of its fork server."""
    threads = settings.threads or usable_cores()
    return CpuRuntime(server(threads=threads, confined=settings.sandbox, readable=settings.readable), threads)
