"""The toolchain of Python kernels, which compiles nothing."""

from __future__ import annotations

import platform
import traceback
from collections.abc import Callable
from pathlib import Path

from devices.base import Artifact, Capability, CompileFailure, Toolchain
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.signature import Signature
from kernelevolve.core.target import Target


class PythonToolchain(Toolchain):
    """Checks that a file can be parsed. There is nothing else to compile."""

    name = "python"

    def capability(self) -> Capability:
        return Capability(name=self.name, available=True, detail=f"Python {platform.python_version()}")

    def fingerprint(self, target: Target) -> str:
        del target
        return f"python {platform.python_version()} {platform.machine()}"

    def compile(
        self,
        kernel: Kernel,
        target: Target,  # noqa: ARG002
        signature: Signature,  # noqa: ARG002
        build_dir: Path,  # noqa: ARG002
        timeout: float,  # noqa: ARG002
        give_way: Callable[[int], None] | None = None,  # noqa: ARG002
    ) -> Artifact | CompileFailure:
        try:
            compile(kernel.source, "kernel.py", "exec", dont_inherit=True)
        except (SyntaxError, ValueError) as error:
            # This format includes the line and a caret.
            details = "".join(traceback.format_exception_only(error)).strip()
            return CompileFailure(summary=f"the kernel file is no valid Python: {error}"[:200], details=details[:2000])
        return Artifact(kernel_id=kernel.id)
