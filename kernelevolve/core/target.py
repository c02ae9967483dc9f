"""The hardware that kernels are written for."""

from __future__ import annotations

from collections.abc import Mapping

from kernelevolve.core.record import Record


class Target(Record):
    """A kind of hardware, as described by a machine that has it.

    A worker on such a machine creates the record. It then travels with plans, operator contexts, compile tasks and
    summaries, so that code on other machines never inspects its own hardware instead.
    """

    device: str
    """The name of the `Device`: `cpu`."""
    vendor: str
    arch: str
    """The architecture in the vendor's terms: `znver5`, `sm_90`, `gfx942`."""
    languages: tuple[str, ...] = ()
    """The languages that kernels may be written in. Models are asked for the first one."""
    facts: Mapping[str, str] = {}
    """Properties that an operator may need: cores, vector width, cache sizes, memory."""
