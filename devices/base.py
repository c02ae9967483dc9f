"""The hardware seam: devices and toolchains."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path

from kernelevolve.core.kernel import Kernel
from kernelevolve.core.record import Record
from kernelevolve.core.signature import Signature
from kernelevolve.core.target import Target


class Capability(Record):
    """What this machine can do of something, and what is missing: a row of `kernelevolve doctor`."""

    name: str
    available: bool
    detail: str
    """A version or a model name; where it is not available, what to install."""


class Artifact(Record):
    """What compiling gave: files in a build folder, found again by the kernel's own loader through `environment`."""

    kernel_id: str
    files: tuple[str, ...] = ()
    """Paths below the build folder."""
    environment: Mapping[str, str] = {}
    """Set these in the process that loads the kernel."""

    def moved(self, old: Path, new: Path) -> Artifact:
        """The same with its files in another folder, where they must have been copied."""
        told = {name: str(new) if value == str(old) else value for name, value in self.environment.items()}
        return self.model_copy(update={"environment": told})


class CompileFailure(Record):
    """The compiler's verdict: a line for a person, and its messages cut to the point."""

    summary: str
    details: str
    timeout: bool = False
    """It was ended before it could tell."""


class Toolchain(ABC):
    """How a language becomes something that runs. Compiling never needs the device."""

    name: str

    @abstractmethod
    def capability(self) -> Capability:
        """Whether this machine has it. Cheap: runs no compiler more than `--version`."""

    @abstractmethod
    def fingerprint(self, target: Target) -> str:
        """Everything besides the kernel and the task that decides the artifact: compiler, version, target. Part of cache keys.

        Empty where this machine compiles nothing for the target.
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
        """Compile a kernel. Content-addressed: a second call with the same arguments compiles nothing.

        Args:
            kernel: The kernel.
            target: The hardware that it is for, for which `fingerprint` is not empty.
            signature: The calls that it must serve at least.
            build_dir: Where the artifact's files, or folders, are put.
            timeout: Seconds that the compiler may take.
            give_way: Called every few milliseconds with the process group of a compiler that runs, which it may stop for a while;
                that while does not count to `timeout`.

        Raises:
            OSError: For what is ours (a full disk, no compiler); never for what the kernel did.
        """


class Device(ABC):
    """A kind of hardware. Instances travel between machines, so they hold settings and no state."""

    name: str
    vendor: str

    @abstractmethod
    def capability(self) -> Capability:
        """Whether this machine has it."""

    @abstractmethod
    def target(self) -> Target:
        """The device of this machine. Raises UserError where it has none."""

    @abstractmethod
    def toolchains(self) -> Mapping[str, Toolchain]:
        """The toolchains by the language of the kernels that they compile."""

    @abstractmethod
    def resources(self) -> Mapping[str, float]:
        """What an actor that measures on it asks of Ray, as `ray.remote` options: `num_cpus`, `num_gpus`, `resources`."""
