"""The choice of the runtime that runs kernels."""

from __future__ import annotations

from devices.cpu import usable_cores
from evaluators.runtime.base import Runtime
from evaluators.runtime.cpu.fork_server import ForkServer
from evaluators.runtime.cpu.runtime import CpuRuntime
from evaluators.settings import EvaluationSettings


def open_runtime(settings: EvaluationSettings) -> Runtime:
    """Return a runtime for these settings that is not started yet. The caller closes it.

    Raises:
        UserError: There is no room for its files.
    """
    return cpu_runtime(settings)


def cpu_runtime(settings: EvaluationSettings, server: type[ForkServer] = ForkServer) -> CpuRuntime:
    """Return the runtime of this machine's processor.

    Args:
        settings: The settings of evaluation.
        server: The class of its fork server.
    """
    threads = settings.threads or usable_cores()
    return CpuRuntime(server(threads=threads, confined=settings.sandbox, readable=settings.readable), threads)
