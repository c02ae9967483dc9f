"""The choice of the writer for a target."""

from __future__ import annotations

from kernelevolve.core.errors import UserError
from kernelevolve.core.target import Target
from kernelevolve.synthesis.builtin.base import Writer
from kernelevolve.synthesis.builtin.cpp.kernels import CppWriter
from kernelevolve.synthesis.builtin.cpp.limits import CpuLimits

ANY: Writer = CppWriter(CpuLimits.of({}))
"""The writer that is used while the target is unknown. It assumes common limits."""


def writer_for(target: Target) -> Writer:
    """Return the writer for a target. Raises UserError if there is none."""
    if target.device != "cpu":
        raise UserError(f"the built-in operator writes kernels for the device cpu only, not {target.device}")
    return CppWriter(CpuLimits.of(target.facts))
