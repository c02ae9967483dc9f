"""The hardware that kernels are written for."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from pydantic import Field

from kernelevolve.core.record import Record


class Source(StrEnum):
    """The origin of a figure about hardware."""

    DATASHEET = "datasheet"
    """The vendor's publications."""
    DRIVER = "driver"
    """The driver of the machine that has the device."""
    MEASURED = "measured"
    """A measurement on the device."""


class Quantity(Record):
    """A figure about hardware, in the unit that its name states, and its origin."""

    value: float = Field(gt=0)
    source: Source


class Peak(StrEnum):
    """A rate that a device cannot exceed.

    Those of arithmetic are floating-point operations per second for inputs of a dtype, dense, in the fastest unit that keeps
    its accuracy; for `int8` they are integer operations per second.
    """

    MEMORY = "memory"
    """Bytes per second between the device and its memory, read and written bytes together."""
    FLOAT64 = "float64"
    FLOAT32 = "float32"
    TF32 = "tf32"
    """Products of float32 values rounded to 10 bits of mantissa."""
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    FLOAT8 = "float8"
    INT8 = "int8"


class Limit(StrEnum):
    """A size that a kernel must respect. A unit is a streaming multiprocessor or a compute unit."""

    UNITS = "units"
    """The number of units."""
    WARP_SIZE = "warp_size"
    """The threads of a warp or wavefront."""
    THREADS_PER_BLOCK = "threads_per_block"
    THREADS_PER_UNIT = "threads_per_unit"
    """The threads that a unit holds at a time."""
    BLOCKS_PER_UNIT = "blocks_per_unit"
    """The blocks that a unit holds at a time."""
    REGISTERS_PER_UNIT = "registers_per_unit"
    """The vector registers of 32 bits of a unit."""
    REGISTERS_PER_THREAD = "registers_per_thread"
    SHARED_BYTES_PER_BLOCK = "shared_bytes_per_block"
    """The most bytes of shared memory or LDS that a block can ask for."""
    SHARED_BYTES_PER_UNIT = "shared_bytes_per_unit"
    L2_BYTES = "l2_bytes"
    """The bytes of the L2 cache, all of its parts together."""
    MEMORY_BYTES = "memory_bytes"
    CLOCK_HERTZ = "clock_hertz"
    """The highest clock of the units."""


class Target(Record):
    """A kind of hardware, as described by a machine that has it.

    A worker on such a machine creates the record. It then travels with plans, operator contexts, compile tasks and
    summaries, so that code on other machines never inspects its own hardware instead.
    """

    device: str
    """The name of the `Device`: `cpu`, `nvidia`, `amd`."""
    vendor: str
    arch: str
    """The architecture in the vendor's terms: `znver5`, `sm_90`, `gfx942`."""
    present: bool = True
    """Whether the machine that made the record has the hardware. Kernels for a target that is not present are compiled only."""
    languages: tuple[str, ...] = ()
    """The languages that kernels may be written in. Models are asked for the first one."""
    facts: Mapping[str, str] = {}
    """Properties that an operator may need, in words: cores, vector width, cache sizes, memory."""
    peaks: Mapping[Peak, Quantity] = {}
    """The rates that the device cannot exceed, as far as they are known."""
    limits: Mapping[Limit, Quantity] = {}
    """The sizes that kernels must respect, as far as they are known."""

    def peak(self, name: Peak) -> float | None:
        """Return a rate, or None if it is unknown."""
        found = self.peaks.get(name)
        return None if found is None else found.value

    def limit(self, name: Limit) -> int | None:
        """Return a size, or None if it is unknown."""
        found = self.limits.get(name)
        return None if found is None else int(found.value)


class Ceilings(Record):
    """The rates that one device reached in a measurement, by PyTorch's own copy and products.

    They are no part of a `Target`: they differ a little each time, and the target is part of the identity of evaluations.
    """

    model: str
    """The name of the device."""
    peaks: Mapping[Peak, Quantity] = {}
    """The rates that were reached."""
    failed: Mapping[Peak, str] = {}
    """The rates that could not be measured, with the reasons."""
    seconds: float = 0.0
    """The seconds that measuring took."""
    torch: str = ""
    """The version of torch."""
    note: str = ""
    """The reason why nothing was measured; empty if it was."""
