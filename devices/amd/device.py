"""The device `amd`."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence

from devices.accelerator import Accelerator, Found, listed
from devices.amd import kfd
from devices.amd.kfd import Node
from devices.amd.models import ARCHITECTURES, COMMON, DEVICE_IDS, SHEETS
from devices.base import AbsentDeviceError, Instance
from devices.datasheet import Datasheet
from devices.torch_build import TorchBuild, torch_build
from kernelevolve.core.target import Limit

ROCR_VISIBLE = "ROCR_VISIBLE_DEVICES"
"""The variable that chooses the GPUs of a process in ROCm's runtime."""
HIP_VISIBLE = "HIP_VISIBLE_DEVICES"
"""The variable that chooses among those that are left. Ray sets it."""
_COMPILE_ONLY = "device.arch=gfx942 compiles without one"


class AmdDevice(Accelerator):
    """The AMD GPU of this machine. This process never opens it."""

    name = "amd"
    vendor = "amd"
    unit = "CU"
    architectures = ARCHITECTURES
    common = COMMON
    sheets = SHEETS

    def found(self) -> Sequence[Found]:
        nodes = kfd.nodes()
        if not kfd.has_driver():
            raise AbsentDeviceError(
                f"this machine has no AMD driver (/dev/kfd is not there): install it where a GPU is; {_COMPILE_ONLY}"
            )
        if not nodes:
            raise AbsentDeviceError(f"the AMD driver finds no GPU on this machine: {_COMPILE_ONLY}")
        shown = _visible(nodes)
        if not shown:
            raise AbsentDeviceError(
                f"{ROCR_VISIBLE} and {HIP_VISIBLE} hide all AMD GPUs of this machine: unset them, or name one"
            )
        problem = unusable(torch_build())
        if not kfd.may_use():
            problem = "this user may not open /dev/kfd: add the user to the groups render and video, then log in again"
        ids = Counter(node.unique_id for node in nodes)
        return [_found(node, nodes.index(node), problem, alone=ids[node.unique_id] == 1) for node in shown]

    def sheet(self, device: Found) -> Datasheet | None:
        sheet = self.sheets.get(device.model)
        # A part of a divided device does not reach the rates of the whole.
        return sheet if sheet and device.limits.get(Limit.UNITS) == sheet.limits[Limit.UNITS] else None

    def is_kind(self, kind: str) -> bool:
        return kind.startswith("AMD-")


def unusable(build: TorchBuild) -> str:
    """Return why torch cannot use AMD GPUs, with the remedy, or an empty text."""
    if not build.version:
        return "there is no torch: install a build of torch for ROCm"
    if not build.hip:
        return f"torch {build.version} was built without ROCm: install a build for ROCm (pytorch.org lists them)"
    return ""


def _visible(nodes: Sequence[Node]) -> list[Node]:
    """Return the GPUs that this process may use. Each variable chooses among those that the former leaves."""
    left = list(nodes)
    for name in (ROCR_VISIBLE, HIP_VISIBLE):
        left = [left[place] for place in listed(os.environ.get(name), [node.unique_id for node in left])]
    return left


def _found(node: Node, place: int, problem: str, *, alone: bool) -> Found:
    """Return a GPU.

    Args:
        node: The GPU in the topology.
        place: Its place among all GPUs of the machine.
        problem: Why GPUs cannot be used.
        alone: Whether no other node has its identifier, as parts of a divided device may.
    """
    model = DEVICE_IDS.get(node.device_id, f"AMD GPU {node.device_id:#06x}")
    named = node.unique_id if node.unique_id and alone else str(place)
    lock = f"amd-{node.unique_id}" if node.unique_id else f"amd-{place}"
    return Found(
        model=model,
        arch=node.arch,
        memory_bytes=node.memory_bytes,
        instance=Instance(lock=lock, environment={ROCR_VISIBLE: named, HIP_VISIBLE: "0"}),
        limits=node.limits,
        facts=kfd.versions(),
        problem=problem,
    )
