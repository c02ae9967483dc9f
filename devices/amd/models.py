"""Published figures of AMD's Instinct accelerators.

Rates are dense: those of structured sparsity are left out. Names of publications:

- MI300X, MI325X, MI350X, MI355X: AMD's datasheets of these accelerators
- compute units, LDS, registers, L2 and wavefronts: ROCm documentation, "Accelerator and GPU hardware specifications"
- waves and workgroups: "AMD Instinct MI300 Instruction Set Architecture" and "AMD Instinct CDNA4 Instruction Set Architecture"
- device ids: the table `amdgpu.ids` of libdrm
"""

from __future__ import annotations

from devices.datasheet import Architecture, Datasheet
from kernelevolve.core.target import Limit, Peak

_ROCM = "ROCm documentation, Accelerator and GPU hardware specifications"


def _architecture(name: str, lds_kib: int, isa: str) -> Architecture:
    """Return an architecture of CDNA 3 or 4, which differ in the size of the LDS, `lds_kib` KiB per CU."""
    limits = {
        Limit.WARP_SIZE: 64,
        Limit.THREADS_PER_BLOCK: 1024,
        Limit.THREADS_PER_UNIT: 2048,  # 4 SIMDs, 8 waves each, 64 lanes.
        Limit.REGISTERS_PER_UNIT: 131072,  # 512 KiB.
        Limit.REGISTERS_PER_THREAD: 512,  # Accumulation registers included.
        Limit.SHARED_BYTES_PER_BLOCK: lds_kib << 10,
        Limit.SHARED_BYTES_PER_UNIT: lds_kib << 10,
    }
    return Architecture(name=name, limits=limits, sources=(_ROCM, isa))


ARCHITECTURES = {
    found.name: found
    for found in (
        _architecture("gfx942", 64, "AMD Instinct MI300 Instruction Set Architecture"),
        _architecture("gfx950", 160, "AMD Instinct CDNA4 Instruction Set Architecture"),
    )
}
"""The architectures that kernels can be compiled for without a device, by name."""

COMMON = Architecture(name="", limits={}, sources=())
"""What holds for every architecture: nothing that the driver does not report."""

_MI300X = {
    Peak.FLOAT64: 163.4e12,
    Peak.FLOAT32: 163.4e12,
    Peak.TF32: 653.7e12,
    Peak.BFLOAT16: 1307.4e12,
    Peak.FLOAT16: 1307.4e12,
    Peak.FLOAT8: 2614.9e12,
    Peak.INT8: 2614.9e12,
}
_MI350X = {
    Peak.FLOAT64: 72.1e12,
    Peak.FLOAT32: 144.2e12,
    Peak.BFLOAT16: 2306.9e12,
    Peak.FLOAT16: 2306.9e12,
    Peak.FLOAT8: 4613.7e12,
    Peak.INT8: 4613.7e12,
}
_MI355X = {
    Peak.FLOAT64: 78.6e12,
    Peak.FLOAT32: 157.3e12,
    Peak.BFLOAT16: 2516.6e12,
    Peak.FLOAT16: 2516.6e12,
    Peak.FLOAT8: 5033.2e12,
    Peak.INT8: 5033.2e12,
}
_L2_BYTES = 32 << 20
"""The L2 cache of all eight dies."""

SHEETS = {
    sheet.model: sheet
    for sheet in (
        Datasheet(
            model="MI300X",
            arch="gfx942",
            accelerator_types=("AMD-Instinct-MI300X-OAM", "AMD-Instinct-MI300X-HF"),
            peaks={Peak.MEMORY: 5.3e12, **_MI300X},
            limits={Limit.UNITS: 304, Limit.L2_BYTES: _L2_BYTES},
            sources=("AMD Instinct MI300X accelerator datasheet", _ROCM),
        ),
        Datasheet(
            model="MI325X",
            arch="gfx942",
            accelerator_types=("AMD-Instinct-MI325X-OAM",),
            peaks={Peak.MEMORY: 6e12, **_MI300X},
            limits={Limit.UNITS: 304, Limit.L2_BYTES: _L2_BYTES},
            sources=("AMD Instinct MI325X accelerator datasheet", _ROCM),
        ),
        Datasheet(
            model="MI350X",
            arch="gfx950",
            accelerator_types=("AMD-Instinct-MI350X-OAM",),
            peaks={Peak.MEMORY: 8e12, **_MI350X},
            limits={Limit.UNITS: 256, Limit.L2_BYTES: _L2_BYTES},
            sources=("AMD Instinct MI350X GPU datasheet", _ROCM),
        ),
        Datasheet(
            model="MI355X",
            arch="gfx950",
            accelerator_types=("AMD-Instinct-MI355X-OAM",),
            peaks={Peak.MEMORY: 8e12, **_MI355X},
            limits={Limit.UNITS: 256, Limit.L2_BYTES: _L2_BYTES},
            sources=("AMD Instinct MI355X GPU datasheet", _ROCM),
        ),
    )
}
"""The models whose figures are published, by name."""

DEVICE_IDS = {
    0x74A0: "MI300A",
    0x74A1: "MI300X",
    0x74A2: "MI308X",
    0x74A5: "MI325X",
    0x74A8: "MI308X HF",
    0x74A9: "MI300X HF",
    0x74B5: "MI300X",
    0x74B9: "MI325X",
    0x74BD: "MI300X HF",
    0x75A0: "MI350X",
    0x75A3: "MI355X",
    0x75B0: "MI350X",
    0x75B3: "MI355X",
}
"""The names of models by their PCI device ids, those of virtual functions included. Not all of them have published figures here."""
