"""The interfaces of devices and toolchains."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path

from kernelevolve.core.kernel import Kernel
from kernelevolve.core.record import Record
from kernelevolve.core.signature import Signature
from kernelevolve.core.target import Target


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


class Device(ABC):
    """A kind of hardware. Instances are sent between machines, so they hold settings and no state."""

    name: str
    """The name of the kind."""
    vendor: str
    """The name of the vendor."""

    @abstractmethod
    def capability(self) -> Capability:
        """Return whether this machine has a device of this kind."""

    @abstractmethod
    def target(self) -> Target:
        """Return the device of this machine. Raises UserError if it has none."""

    @abstractmethod
    def toolchains(self) -> Mapping[str, Toolchain]:
        """Return the toolchains by the language of the kernels that they compile."""

    @abstractmethod
    def resources(self) -> Mapping[str, float]:
        """Return the Ray resources of an actor that measures on the device, as options of `ray.remote`."""
