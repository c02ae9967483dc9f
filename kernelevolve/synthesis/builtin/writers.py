"""Which writer writes kernels for a target."""

from __future__ import annotations

from kernelevolve.core.errors import UserError
from kernelevolve.core.target import Target
from kernelevolve.synthesis.builtin.base import Writer
from kernelevolve.synthesis.builtin.cpp.kernels import CppWriter
from kernelevolve.synthesis.builtin.cpp.limits import CpuLimits

ANY: Writer = CppWriter(CpuLimits.of({}))
"""A writer for what is common, where the target is not known yet."""


def writer_for(target: Target) -> Writer:
    """The writer for a target. Raises UserError where there is none."""
    if target.device != "cpu":
        raise UserError(f"the built-in operator writes kernels for the device cpu only, not {target.device}")
    return CppWriter(CpuLimits.of(target.facts))
