"""Stand-ins for what cannot be had without a GPU: NVIDIA's libraries as real shared objects, and the files of AMD's driver."""

from __future__ import annotations

import subprocess
from pathlib import Path

GIB = 2**30
H200 = f"NVIDIA H200|GPU-11111111-aaaa-bbbb-cccc-000000000001|90|{141 * GIB}|0"
SECOND_H200 = f"NVIDIA H200|GPU-22222222-aaaa-bbbb-cccc-000000000002|90|{141 * GIB}|0"
L40S = f"NVIDIA L40S|GPU-33333333-aaaa-bbbb-cccc-000000000003|89|{45 * GIB}|0"
SLICED = f"NVIDIA H200|GPU-44444444-aaaa-bbbb-cccc-000000000004|90|{141 * GIB}|1"


def build_nvidia_libraries(folder: Path) -> None:
    """Compile the stand-ins for NVML and CUDA's driver into a folder, by the names of the real ones."""
    here = Path(__file__).parent
    for source, name in (("standin_nvml.c", "libnvidia-ml.so.1"), ("standin_cuda.c", "libcuda.so.1")):
        command = ["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", folder / name, here / source]
        subprocess.run(command, check=True, timeout=60)


MI300X = {
    "simd_count": 1216,
    "simd_per_cu": 4,
    "max_waves_per_simd": 8,
    "wave_front_size": 64,
    "lds_size_in_kb": 64,
    "gfx_target_version": 90402,
    "device_id": 0x74A1,
    "unique_id": 0x1234567890ABCDEF,
    "num_xcc": 8,
    "max_engine_clk_fcompute": 2100,
}
"""The properties of an MI300X, as Linux lists them."""
MI355X = MI300X | {
    "simd_count": 1024,
    "lds_size_in_kb": 160,
    "gfx_target_version": 90500,
    "device_id": 0x75A3,
    "unique_id": 0xFEDCBA0987654321,
    "max_engine_clk_fcompute": 2400,
}


def amd_files(root: Path, *gpus: dict[str, int], memory: int = 192 * GIB) -> None:
    """Write the files of a machine with one processor and these GPUs below `root`."""
    nodes = root / "sys/class/kfd/kfd/topology/nodes"
    for number, properties in enumerate(({"cpu_cores_count": 96, "gfx_target_version": 0}, *gpus)):
        node = nodes / str(number)
        (node / "mem_banks/0").mkdir(parents=True)
        (node / "properties").write_text("".join(f"{name} {value}\n" for name, value in properties.items()))
        heap = 1 if number else 0
        (node / "mem_banks/0/properties").write_text(f"heap_type {heap}\nsize_in_bytes {memory}\nflags 0\n")
    for file, text in (
        ("dev/kfd", ""),
        ("sys/module/amdgpu/version", "6.12.12\n"),
        ("opt/rocm/.info/version", "7.0.1\n"),
    ):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text(text)
