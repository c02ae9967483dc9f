"""The choice of the runtime that runs kernels."""

from __future__ import annotations

from importlib.metadata import entry_points

from devices.base import Instance
from devices.cpu import usable_cores
from evaluators.runtime.base import Runtime
from evaluators.runtime.cpu.fork_server import ForkServer
from evaluators.runtime.cpu.runtime import CpuRuntime
from evaluators.runtime.gpu.runtime import GpuRuntime
from evaluators.settings import EvaluationSettings
from kernelevolve.core.errors import UserError
from kernelevolve.core.target import Target

GROUP = "kernelevolve.runtimes"
"""The group of entry points whose values are functions `(settings, target, instance) -> Runtime`, and whose names are those of devices."""


def open_runtime(
    settings: EvaluationSettings, target: Target | None = None, instance: Instance | None = None
) -> Runtime:
    """Return a runtime that is not started yet. The caller closes it.

    Args:
        settings: The settings of evaluation.
        target: The hardware that kernels run on, or None for this machine's processor.
        instance: The device that the runtime may use, whose lock is `Runtime.device`.

    Raises:
        UserError: There is no room for its files, or no runtime for the target.
    """
    if target is None or instance is None or target.device == "cpu":
        return cpu_runtime(settings)
    if target.device == "nvidia" and target.present:
        return gpu_runtime(settings, instance)
    for entry in entry_points(group=GROUP, name=target.device):
        runtime: Runtime = entry.load()(settings, target, instance)
        return runtime
    raise UserError(
        f"device={target.device}: kernels for it are compiled and cannot be run here; a package with an entry point "
        f"{GROUP} named {target.device} would run them"
    )


def cpu_runtime(settings: EvaluationSettings, server: type[ForkServer] = ForkServer) -> CpuRuntime:
    """Return the runtime of this machine's processor.

    Args:
        settings: The settings of evaluation.
        server: The class of its fork server.
    """
    threads = settings.threads or usable_cores()
    return CpuRuntime(server(threads=threads, confined=settings.sandbox, readable=settings.readable), threads)


def gpu_runtime(settings: EvaluationSettings, instance: Instance) -> GpuRuntime:
    """Return the runtime of one GPU of this machine.

    Args:
        settings: The settings of evaluation.
        instance: The GPU.

    Raises:
        UserError: There is no room for its files.
    """
    threads = settings.threads or usable_cores()
    server = ForkServer(
        threads=threads,
        confined=settings.sandbox,
        readable=settings.readable,
        runner="evaluators.runtime.gpu.runner_main",
        environment=instance.environment,
        limits_addresses=False,
    )
    return GpuRuntime(server, threads, instance.lock)
