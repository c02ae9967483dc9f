"""Published figures of NVIDIA's data-center GPUs.

Rates are dense: where a datasheet gives those of structured sparsity, they are halved. Names of publications:

- A100: "NVIDIA A100 Tensor Core GPU" datasheet and "NVIDIA A100 Tensor Core GPU Architecture" whitepaper
- H100: "NVIDIA H100 Tensor Core GPU" datasheet and "NVIDIA H100 Tensor Core GPU Architecture" whitepaper
- H200: "NVIDIA H200 Tensor Core GPU" datasheet
- B200: "NVIDIA Blackwell" datasheet, the column HGX B200, figures of one GPU
- architectures: CUDA C++ Programming Guide, "Compute Capabilities", table "Technical Specifications per Compute Capability"
"""

from __future__ import annotations

from devices.datasheet import Architecture, Datasheet
from kernelevolve.core.target import Limit, Peak

_GUIDE = ("CUDA C++ Programming Guide, Technical Specifications per Compute Capability",)

COMMON = Architecture(
    name="",
    limits={Limit.WARP_SIZE: 32, Limit.THREADS_PER_BLOCK: 1024, Limit.REGISTERS_PER_THREAD: 255},
    sources=_GUIDE,
)
"""What holds for every architecture since compute capability 3.5. The driver does not report the registers of a thread."""


def _architecture(name: str, shared_kib: int) -> Architecture:
    """Return an architecture with `shared_kib` KiB of shared memory per SM, of which a block can have all but one."""
    limits = {
        **COMMON.limits,
        Limit.THREADS_PER_UNIT: 2048,
        Limit.BLOCKS_PER_UNIT: 32,
        Limit.REGISTERS_PER_UNIT: 65536,
        Limit.SHARED_BYTES_PER_BLOCK: (shared_kib - 1) << 10,
        Limit.SHARED_BYTES_PER_UNIT: shared_kib << 10,
    }
    return Architecture(name=name, limits=limits, sources=_GUIDE)


ARCHITECTURES = {
    found.name: found
    for found in (_architecture("sm_80", 164), _architecture("sm_90", 228), _architecture("sm_100", 228))
}
"""The architectures that kernels can be compiled for without a device, by name."""

_A100 = {
    Peak.FLOAT64: 19.5e12,
    Peak.FLOAT32: 19.5e12,
    Peak.TF32: 156e12,
    Peak.BFLOAT16: 312e12,
    Peak.FLOAT16: 312e12,
    Peak.INT8: 624e12,
}
_H100_SXM = {
    Peak.FLOAT64: 67e12,
    Peak.FLOAT32: 67e12,
    Peak.TF32: 494.5e12,
    Peak.BFLOAT16: 989.5e12,
    Peak.FLOAT16: 989.5e12,
    Peak.FLOAT8: 1979e12,
    Peak.INT8: 1979e12,
}
_HOPPER_NVL = {
    Peak.FLOAT64: 60e12,
    Peak.FLOAT32: 60e12,
    Peak.TF32: 417.5e12,
    Peak.BFLOAT16: 835.5e12,
    Peak.FLOAT16: 835.5e12,
    Peak.FLOAT8: 1670.5e12,
    Peak.INT8: 1670.5e12,
}
_H100_PCIE = {
    Peak.FLOAT64: 51e12,
    Peak.FLOAT32: 51e12,
    Peak.TF32: 378e12,
    Peak.BFLOAT16: 756.5e12,
    Peak.FLOAT16: 756.5e12,
    Peak.FLOAT8: 1513e12,
    Peak.INT8: 1513e12,
}
_B200 = {
    Peak.FLOAT64: 37e12,
    Peak.FLOAT32: 75e12,
    Peak.TF32: 1100e12,
    Peak.BFLOAT16: 2250e12,
    Peak.FLOAT16: 2250e12,
    Peak.FLOAT8: 4500e12,
    Peak.INT8: 4500e12,
}

_A100_SOURCES = ("NVIDIA A100 Tensor Core GPU datasheet", "NVIDIA A100 Tensor Core GPU Architecture whitepaper")
_H100_SOURCES = ("NVIDIA H100 Tensor Core GPU datasheet", "NVIDIA H100 Tensor Core GPU Architecture whitepaper")
_H200_SOURCES = ("NVIDIA H200 Tensor Core GPU datasheet",)

SHEETS = {
    sheet.model: sheet
    for sheet in (
        Datasheet(
            model="A100 SXM 40GB",
            arch="sm_80",
            accelerator_types=("A100", "A100-40G"),
            peaks={Peak.MEMORY: 1.555e12, **_A100},
            limits={Limit.UNITS: 108, Limit.L2_BYTES: 40 << 20},
            sources=_A100_SOURCES,
        ),
        Datasheet(
            model="A100 PCIe 40GB",
            arch="sm_80",
            accelerator_types=("A100", "A100-40G"),
            peaks={Peak.MEMORY: 1.555e12, **_A100},
            limits={Limit.UNITS: 108, Limit.L2_BYTES: 40 << 20},
            sources=_A100_SOURCES,
        ),
        Datasheet(
            model="A100 SXM 80GB",
            arch="sm_80",
            accelerator_types=("A100", "A100-80G"),
            peaks={Peak.MEMORY: 2.039e12, **_A100},
            limits={Limit.UNITS: 108, Limit.L2_BYTES: 40 << 20},
            sources=_A100_SOURCES,
        ),
        Datasheet(
            model="A100 PCIe 80GB",
            arch="sm_80",
            accelerator_types=("A100", "A100-80G"),
            peaks={Peak.MEMORY: 1.935e12, **_A100},
            limits={Limit.UNITS: 108, Limit.L2_BYTES: 40 << 20},
            sources=_A100_SOURCES,
        ),
        Datasheet(
            model="H100 SXM",
            arch="sm_90",
            accelerator_types=("H100",),
            peaks={Peak.MEMORY: 3.35e12, **_H100_SXM},
            limits={Limit.UNITS: 132, Limit.L2_BYTES: 50 << 20},
            sources=_H100_SOURCES,
        ),
        Datasheet(
            model="H100 PCIe",
            arch="sm_90",
            accelerator_types=("H100",),
            peaks={Peak.MEMORY: 2e12, **_H100_PCIE},
            limits={Limit.UNITS: 114, Limit.L2_BYTES: 50 << 20},
            sources=_H100_SOURCES,
        ),
        Datasheet(
            model="H100 NVL",
            arch="sm_90",
            accelerator_types=("H100",),
            peaks={Peak.MEMORY: 3.9e12, **_HOPPER_NVL},
            limits={},
            sources=_H100_SOURCES,
        ),
        Datasheet(
            model="H200 SXM",
            arch="sm_90",
            accelerator_types=("H200",),
            peaks={Peak.MEMORY: 4.8e12, **_H100_SXM},
            limits={},
            sources=_H200_SOURCES,
        ),
        Datasheet(
            model="H200 NVL",
            arch="sm_90",
            accelerator_types=("H200",),
            peaks={Peak.MEMORY: 4.8e12, **_HOPPER_NVL},
            limits={},
            sources=_H200_SOURCES,
        ),
        Datasheet(
            model="B200",
            arch="sm_100",
            accelerator_types=("B200",),
            peaks={Peak.MEMORY: 8e12, **_B200},
            limits={},
            sources=("NVIDIA Blackwell datasheet, HGX B200",),
        ),
    )
}
"""The models whose figures are published, by name."""


def sheet_of(name: str, memory_bytes: float) -> Datasheet | None:
    """Return the figures of a model, or None if it is not in the table.

    Args:
        name: The name that the driver reports, such as `NVIDIA A100-SXM4-80GB`, `NVIDIA H100 80GB HBM3` or `NVIDIA H200`.
        memory_bytes: The size of its memory. It tells the two sizes of an A100 apart.
    """
    words = set(name.upper().replace("-", " ").split())
    shape = "PCIe" if "PCIE" in words else "NVL" if "NVL" in words else "SXM"
    if "A100" in words:
        return SHEETS.get(f"A100 {shape} {'80GB' if memory_bytes > 60e9 else '40GB'}")
    for family in ("H100", "H200"):
        if family in words:
            return SHEETS.get(f"{family} {shape}")
    return SHEETS["B200"] if "B200" in words else None
