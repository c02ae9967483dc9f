"""The hardware that kernels are for."""

from __future__ import annotations

from collections.abc import Mapping

from kernelevolve.core.record import Record


class Target(Record):
    """A kind of hardware as a machine that has it describes it.

    A worker on that machine finds it; plans, contexts of operators, compile tasks and summaries carry it from there. Nobody else asks
    the machine that his code happens to run on.
    """

    device: str
    """The name of the `Device`: `cpu`."""
    vendor: str
    arch: str
    """In the vendor's words: `znver5`, `sm_90`, `gfx942`."""
    languages: tuple[str, ...] = ()
    """That kernels for it may be written in; a model is asked for the first."""
    facts: Mapping[str, str] = {}
    """What an operator may want to know: cores, vector width, cache sizes, memory."""
