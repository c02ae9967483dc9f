"""What every toolchain must do; a test module derives from `ToolchainConformance`."""

from __future__ import annotations

import os
import subprocess
import sys
from abc import ABC, abstractmethod
from pathlib import Path

from devices.base import Artifact, CompileFailure, Toolchain
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.signature import Signature
from kernelevolve.core.target import Target

RUN = "import runpy, sys, torch; m = runpy.run_path(sys.argv[1]); print(m['ModelNew']()(torch.ones(8)).sum().item())"


def run_kernel(kernel: Kernel, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Runs the kernel's model on eight ones in a process of its own, and prints the sum."""
    file = folder / "kernel_file.py"
    file.write_text(kernel.source)
    return subprocess.run(
        [sys.executable, "-c", RUN, str(file)],
        env={**os.environ, "HOME": str(folder), **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def files_of(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


class ToolchainConformance(ABC):
    @abstractmethod
    def toolchain(self) -> Toolchain: ...

    @abstractmethod
    def target(self) -> Target:
        """What it compiles for on this machine."""

    @abstractmethod
    def doubling(self) -> Kernel:
        """A kernel whose model returns twice its input."""

    @abstractmethod
    def broken(self) -> Kernel:
        """A kernel that does not compile."""

    def compiled(self, kernel: Kernel, folder: Path) -> Artifact | CompileFailure:
        return self.toolchain().compile(kernel, self.target(), Signature(), folder, 60)

    def test_says_what_it_is(self) -> None:
        capability = self.toolchain().capability()
        assert capability.available
        assert capability.name == self.toolchain().name
        assert capability.detail

    def test_fingerprint_is_stable(self) -> None:
        assert self.toolchain().fingerprint(self.target()) == self.toolchain().fingerprint(self.target()) != ""

    def test_a_compiled_kernel_runs_elsewhere(self, tmp_path: Path) -> None:
        artifact = self.compiled(self.doubling(), tmp_path / "build")
        assert isinstance(artifact, Artifact)
        assert artifact.kernel_id == self.doubling().id
        assert all((tmp_path / "build" / file).is_file() for file in artifact.files)
        done = run_kernel(self.doubling(), tmp_path, dict(artifact.environment))
        assert done.stdout.strip() == "16.0", done.stderr

    def test_a_second_call_gives_the_same_and_writes_nothing(self, tmp_path: Path) -> None:
        first = self.compiled(self.doubling(), tmp_path)
        before = files_of(tmp_path)
        assert self.compiled(self.doubling(), tmp_path) == first
        assert files_of(tmp_path) == before

    def test_a_broken_kernel_is_a_verdict_and_leaves_nothing(self, tmp_path: Path) -> None:
        verdict = self.compiled(self.broken(), tmp_path)
        assert isinstance(verdict, CompileFailure)
        assert verdict.summary
        assert "\n" not in verdict.summary
        assert list(tmp_path.iterdir()) == []
