"""The interfaces of devices and toolchains."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from kernelevolve.core.errors import UserError
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.record import Record
from kernelevolve.core.signature import Signature
from kernelevolve.core.target import Ceilings, Target

Resources = Mapping[str, float]
"""The resources of a machine by Ray's names, such as {"CPU": 16.0, "GPU": 1.0, "accelerator_type:H200": 1.0}."""


UNKNOWN_BANDWIDTH = 1.0
"""The bandwidth of an accelerator whose figures are unknown: `device=auto` prefers it to none."""


class AbsentDeviceError(UserError):
    """There is no device of the kind that is asked for. Other errors of a device say that it is there and cannot be used."""


class Capability(Record):
    """Something that this machine has or lacks. `kernelevolve doctor` shows one row for each."""

    name: str
    """The name of the capability."""
    available: bool
    """Whether this machine has it."""
    detail: str
    """A version or a model name if it is available, or else what to install."""


class Artifact(Record):
    """The result of compiling a kernel: files in a build folder, which the kernel's own loader finds through `environment`."""

    kernel_id: str
    """The id of the kernel."""
    files: tuple[str, ...] = ()
    """The paths of the files below the build folder."""
    environment: Mapping[str, str] = {}
    """The environment variables that the process which loads the kernel needs."""

    def moved(self, old: Path, new: Path) -> Artifact:
        """Return the artifact for files that were copied from the build folder `old` to `new`."""
        environment = {name: str(new) if value == str(old) else value for name, value in self.environment.items()}
        return self.model_copy(update={"environment": environment})


class CompileFailure(Record):
    """The failure to compile a kernel."""

    summary: str
    """What is wrong, in one line."""
    details: str
    """The first error messages of the compiler."""
    timeout: bool = False
    """Whether the compiler was ended because its time was up."""


class Toolchain(ABC):
    """Compiles the kernels of one language. Compiling never needs the device."""

    name: str
    """The name of the language."""

    @abstractmethod
    def capability(self) -> Capability:
        """Return whether this machine has the toolchain. This is cheap: it runs a compiler with `--version` at most."""

    @abstractmethod
    def fingerprint(self, target: Target) -> str:
        """Return a text that determines artifacts besides the kernel and the task: the compiler, its version and the target.

        It is part of cache keys. It is empty if this machine compiles nothing for the target.
        """

    @abstractmethod
    def compile(
        self,
        kernel: Kernel,
        target: Target,
        signature: Signature,
        build_dir: Path,
        timeout: float,
        give_way: Callable[[int], None] | None = None,
    ) -> Artifact | CompileFailure:
        """Compile a kernel. Files are named by their content, so a second call with the same arguments compiles nothing.

        Args:
            kernel: The kernel.
            target: The hardware that it is for, for which `fingerprint` is not empty.
            signature: The calls that it must serve at least.
            build_dir: The folder of the artifact's files.
            timeout: The seconds that the compiler may take.
            give_way: A function that is called every few milliseconds with the process group of the running compiler. It may stop the
                group for a while, which does not count toward `timeout`.

        Returns:
            The artifact, or the failure of the kernel to compile.

        Raises:
            OSError: Compiling was not possible for a reason other than the kernel, such as a full disk.
        """


class Instance(Record):
    """One device of a machine, which one process measures on at a time."""

    lock: str
    """The name of its device lock. It is the same in every process and container of the machine."""
    environment: Mapping[str, str] = {}
    """The environment variables with which a process sees this device alone."""


@dataclass(frozen=True)
class Placed:
    """A device for the machines of a run."""

    device: Device
    """The device to use."""
    note: str = ""
    """What was chosen and why, in one line; empty if nothing was to choose."""


class Device(ABC):
    """A kind of hardware. Instances are sent between machines, so they hold settings and no state.

    A package names devices of its own in the entry points `kernelevolve.devices`, see `devices/registry.py`.
    """

    name: str
    """The name of the kind."""
    vendor: str
    """The name of the vendor."""

    @abstractmethod
    def capability(self) -> Capability:
        """Return whether this machine has a device of this kind."""

    @abstractmethod
    def target(self) -> Target:
        """Return the device of this machine, as the environment of this process chooses it. Raises UserError if there is none."""

    @abstractmethod
    def toolchains(self) -> Mapping[str, Toolchain]:
        """Return the toolchains by the language of the kernels that they compile, the preferred language first."""

    @abstractmethod
    def resources(self) -> Mapping[str, object]:
        """Return the Ray resources of an actor that measures on the device, as options of `ray.remote`."""

    def settings(self) -> Mapping[str, object]:
        """Return the arguments of the constructor that make an equal device."""
        return {}

    def instance(self) -> Instance:
        """Return which device of this machine `target` describes. Raises UserError if there is none."""
        return Instance(lock=self.name)

    def offered(self) -> Resources:
        """Return the resources of this machine that a local Ray does not find by itself."""
        custom = self.resources().get("resources")
        return dict(custom) if isinstance(custom, Mapping) and self.capability().available else {}

    def placed(self, machines: Sequence[Resources] | None = None, workers: int = 1) -> Placed:
        """Return the device as it is used on the machines of a cluster.

        Args:
            machines: The resources of each machine, or None for this machine without Ray.
            workers: The number of actors that measure at a time.

        Raises:
            UserError: No machine has the device, or all of them together have too few for the workers.
        """
        if machines is not None:
            check_room(self, machines, workers)
        return Placed(self)

    def bandwidth(self, machines: Sequence[Resources] | None = None) -> float:
        """Return the peak bytes per second of the best device of these machines, by which `device=auto` chooses; 0 to be no choice."""
        del machines
        return 0.0

    def ceilings(self, alone: AbstractContextManager[object]) -> Ceilings | None:
        """Measure the rates that this machine's device reaches, or return None for a device whose rates nobody asks for.

        Args:
            alone: A context in which nothing else uses the device. It is entered when everything is ready to measure.

        Raises:
            InfrastructureError: The measurement failed.
        """
        del alone
        return None


def check_room(device: Device, machines: Sequence[Resources], workers: int) -> None:
    """Raise UserError if these machines do not have what the workers of a device ask Ray for."""
    wanted = ray_resources(device.resources())
    if not wanted:
        return
    room = sum(
        min(int(machine.get(name, 0.0) / amount + 1e-6) for name, amount in wanted.items()) for machine in machines
    )
    if room >= workers:
        return
    lacking = ", ".join(f"{name}: {amount:g}" for name, amount in wanted.items())
    if room:
        raise UserError(
            f"evaluation.workers={workers}: the cluster has room for {room} that measure on the device {device.name} "
            f"({lacking} each); set evaluation.workers={room}"
        )
    custom = [name for name in wanted if name != "GPU" and not name.startswith("accelerator_type:")]
    remedy = f"; start Ray there with --resources='{{\"{custom[0]}\": 1}}'" if custom else ""
    raise AbsentDeviceError(f"device {device.name}: no machine of the cluster has {lacking}{remedy}")


def ray_resources(options: Mapping[str, object]) -> dict[str, float]:
    """Return the resources that options of `ray.remote` ask for besides CPUs, by Ray's names."""
    wanted: dict[str, float] = {}
    if isinstance(gpus := options.get("num_gpus"), int | float) and gpus:
        wanted["GPU"] = float(gpus)
    if isinstance(kind := options.get("accelerator_type"), str):
        wanted[f"accelerator_type:{kind}"] = 0.001
    if isinstance(custom := options.get("resources"), Mapping):
        wanted |= {str(name): float(amount) for name, amount in custom.items()}
    return wanted
