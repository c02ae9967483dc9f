"""The AMD GPUs of this machine, as the Linux kernel lists them for ROCm (KFD topology in sysfs).

The files are readable without ROCm and without opening a device. Each node of the topology with a `gfx_target_version` is a GPU, or a part
of one that is divided. Names of properties: `struct kfd_node_properties` of the Linux kernel (drivers/gpu/drm/amd/amdkfd).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from kernelevolve.core.record import Record
from kernelevolve.core.target import Limit

ROOT = Path("/")
"""The root of the file system that is read."""
_NODES = "sys/class/kfd/kfd/topology/nodes"
_DEVICE_FILE = "dev/kfd"
_DRIVER_VERSION = "sys/module/amdgpu/version"
_ROCM_VERSION = "opt/rocm/.info/version"
_GRAPHICS_HEAPS = {"1", "2"}
"""The types of memory banks on the device: visible to the processor, and not."""


class Node(Record):
    """One GPU of the topology."""

    number: int
    """The number of the node."""
    arch: str
    """The architecture: `gfx942`."""
    device_id: int
    """The PCI id of the model."""
    unique_id: str
    """The identifier as ROCm writes it, `GPU-` and 16 hexadecimal digits; empty if the device has none."""
    parts: int
    """The number of dies (XCDs) that belong to the node."""
    memory_bytes: int
    limits: Mapping[Limit, float]
    """The sizes of the node. The L2 cache is left out: Linux versions differ in whether they count one die's or all."""


def nodes() -> list[Node]:
    """Return the GPUs of this machine in the order in which ROCm numbers them."""
    folders = [path for path in (ROOT / _NODES).glob("*") if path.name.isdigit()]
    found = (_node(path) for path in sorted(folders, key=lambda path: int(path.name)))
    return [node for node in found if node is not None]


def has_driver() -> bool:
    """Return whether the kernel's driver for computing is loaded."""
    return (ROOT / _DEVICE_FILE).exists()


def may_use() -> bool:
    """Return whether this user may open the devices."""
    return os.access(ROOT / _DEVICE_FILE, os.R_OK | os.W_OK)


def versions() -> dict[str, str]:
    """Return the versions of the driver and of ROCm, as far as they are known."""
    known = {"driver": _text(ROOT / _DRIVER_VERSION), "rocm": _text(ROOT / _ROCM_VERSION)}
    return {name: value for name, value in known.items() if value}


def _node(folder: Path) -> Node | None:
    properties = _properties(folder / "properties")
    version = properties.get("gfx_target_version", 0)
    if not version:
        return None
    per_unit = properties.get("simd_per_cu", 0)
    banks = [_raw(bank / "properties") for bank in (folder / "mem_banks").glob("*")]
    memory = sum(int(bank["size_in_bytes"]) for bank in banks if bank.get("heap_type") in _GRAPHICS_HEAPS)
    wave = properties.get("wave_front_size", 0)
    lds = properties.get("lds_size_in_kb", 0) << 10
    limits = {
        Limit.UNITS: properties.get("simd_count", 0) // per_unit if per_unit else 0,
        Limit.WARP_SIZE: wave,
        Limit.THREADS_PER_UNIT: properties.get("max_waves_per_simd", 0) * per_unit * wave,
        Limit.SHARED_BYTES_PER_BLOCK: lds,
        Limit.SHARED_BYTES_PER_UNIT: lds,
        Limit.MEMORY_BYTES: memory,
        Limit.CLOCK_HERTZ: properties.get("max_engine_clk_fcompute", 0) * 10**6,
    }
    unique = properties.get("unique_id", 0)
    return Node(
        number=int(folder.name),
        arch=f"gfx{version // 10000}{version // 100 % 100:x}{version % 100:x}",
        device_id=properties.get("device_id", 0),
        unique_id=f"GPU-{unique:016x}" if unique else "",
        parts=properties.get("num_xcc", 1),
        memory_bytes=memory,
        limits={limit: float(value) for limit, value in limits.items() if value > 0},
    )


def _properties(file: Path) -> dict[str, int]:
    """Return the properties that are numbers."""
    return {name: int(value) for name, value in _raw(file).items() if value.isdigit()}


def _raw(file: Path) -> dict[str, str]:
    """Return the properties of a file, one per line, or none if this user may not read it."""
    pairs = (line.partition(" ") for line in _text(file).splitlines())
    return {name: value.strip() for name, _, value in pairs}


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
