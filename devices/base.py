"""The hardware seam: devices and toolchains."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path

from kernelevolve.core.kernel import Kernel
from kernelevolve.core.record import Record


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
    def fingerprint(self) -> str:
        """Everything besides the kernel that decides the artifact: compiler, version, target. Part of cache keys."""

    @abstractmethod
    def compile(
        self, kernel: Kernel, build_dir: Path, timeout: float, give_way: Callable[[int], None] | None = None
    ) -> Artifact | CompileFailure:
        """Compile into `build_dir`, content-addressed: a second call with the same kernel compiles nothing.

        `give_way` is called every few milliseconds with the process group of a compiler that runs, which it may stop for a while;
        that while does not count to `timeout`, in seconds.

        Raises OSError for what is ours (a full disk, no compiler); never for what the kernel did.
        """


class Device(ABC):
    """A kind of hardware."""

    name: str
    vendor: str

    @abstractmethod
    def capability(self) -> Capability: ...

    @abstractmethod
    def arch(self) -> str:
        """The target of this machine's device in the vendor's words: `znver5`, `sm_90`, `gfx942`."""

    @abstractmethod
    def facts(self) -> Mapping[str, str]:
        """What an operator may want to know: cores, vector width, cache sizes, memory."""

    @abstractmethod
    def toolchains(self) -> Mapping[str, Toolchain]:
        """By the language of the kernels that they compile."""

    @abstractmethod
    def measuring_resources(self) -> Mapping[str, float]:
        """Ray resources that a measuring task holds, as `ray.remote` options: num_cpus, num_gpus, ..."""
