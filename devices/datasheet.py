"""Published figures of accelerators, and the facts, peaks and limits of a target that follow from them and from the driver."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kernelevolve.core.record import Record
from kernelevolve.core.target import Limit, Peak, Quantity, Source

_ARITHMETIC = tuple(peak for peak in Peak if peak is not Peak.MEMORY)
_WORDS = {
    Limit.THREADS_PER_BLOCK: "threads per block",
    Limit.THREADS_PER_UNIT: "threads per {unit}",
    Limit.BLOCKS_PER_UNIT: "blocks per {unit}",
    Limit.REGISTERS_PER_UNIT: "32-bit registers per {unit}",
    Limit.REGISTERS_PER_THREAD: "32-bit registers per thread",
}
"""The facts of limits that are plain numbers."""


class Architecture(Record):
    """The figures that all devices of an architecture share."""

    name: str
    """The architecture in the vendor's terms."""
    limits: Mapping[Limit, float]
    """The sizes that kernels must respect."""
    sources: tuple[str, ...]
    """The publications that the figures come from."""


class Datasheet(Record):
    """The published figures of one model."""

    model: str
    """The name of the model."""
    arch: str
    """The name of its architecture."""
    accelerator_types: tuple[str, ...]
    """Ray's names of the model; several models can share one."""
    peaks: Mapping[Peak, float]
    """Dense rates, without structured sparsity, in bytes or operations per second."""
    limits: Mapping[Limit, float]
    """Sizes that differ between models of the architecture."""
    sources: tuple[str, ...]
    """The publications that the figures come from."""


def peaks_of(sheet: Datasheet | None) -> dict[Peak, Quantity]:
    """Return the published rates of a model, none for an unknown one."""
    published = {} if sheet is None else sheet.peaks
    return {name: Quantity(value=value, source=Source.DATASHEET) for name, value in published.items()}


def limits_of(
    architecture: Architecture, sheet: Datasheet | None, driver: Mapping[Limit, float]
) -> dict[Limit, Quantity]:
    """Return the sizes of a device. What the driver says goes before what is published."""
    published = {**architecture.limits, **(sheet.limits if sheet else {})}
    found = {name: Quantity(value=value, source=Source.DATASHEET) for name, value in published.items()}
    return found | {name: Quantity(value=value, source=Source.DRIVER) for name, value in driver.items()}


def facts_of(peaks: Mapping[Peak, Quantity], limits: Mapping[Limit, Quantity], unit: str) -> dict[str, str]:
    """Return peaks and limits in words, and a fact `unknown` that names what is missing.

    Args:
        peaks: The rates of the device.
        limits: The sizes of the device.
        unit: The vendor's name of a unit: `SM` or `CU`.
    """
    facts = {}
    if Limit.UNITS in limits:
        facts[f"{unit.lower()}s"] = f"{limits[Limit.UNITS].value:.0f}"
    if Limit.WARP_SIZE in limits:
        facts["warp size"] = f"{limits[Limit.WARP_SIZE].value:.0f}"
    facts |= {words.format(unit=unit): f"{limits[name].value:.0f}" for name, words in _WORDS.items() if name in limits}
    for name, words in (
        (Limit.SHARED_BYTES_PER_BLOCK, "shared memory per block"),
        (Limit.SHARED_BYTES_PER_UNIT, f"shared memory per {unit}"),
    ):
        if name in limits:
            facts[words] = f"{limits[name].value / 2**10:g} KiB"
    if Limit.L2_BYTES in limits:
        facts["l2"] = f"{limits[Limit.L2_BYTES].value / 2**20:g} MiB"
    if Limit.MEMORY_BYTES in limits:
        facts["memory_gib"] = f"{limits[Limit.MEMORY_BYTES].value / 2**30:.1f}"
    if Limit.CLOCK_HERTZ in limits:
        facts["highest clock"] = f"{limits[Limit.CLOCK_HERTZ].value / 1e6:.0f} MHz"
    if Peak.MEMORY in peaks:
        facts["memory bandwidth"] = f"{peaks[Peak.MEMORY].value / 1e12:g} TB/s ({peaks[Peak.MEMORY].source})"
    for rated in _ARITHMETIC:
        if rated in peaks:
            rate = "TOP/s" if rated is Peak.INT8 else "TFLOP/s"
            facts[f"peak {rated}"] = f"{peaks[rated].value / 1e12:g} {rate} ({peaks[rated].source})"
    unknown = _unknown(peaks, limits)
    if unknown:
        facts["unknown"] = ", ".join(unknown)
    return facts


def _unknown(peaks: Mapping[Peak, Quantity], limits: Mapping[Limit, Quantity]) -> Sequence[str]:
    """Return what is not known of a device, in words. Rates that its vendor does not publish count only if all of them are missing."""
    missing = [name.replace("_", " ") for name in Limit if name not in limits]
    if Peak.MEMORY not in peaks:
        missing.append("memory bandwidth")
    if not any(name in peaks for name in _ARITHMETIC):
        missing.append("peaks of arithmetic")
    return missing
