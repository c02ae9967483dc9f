"""GPUs of the cluster for an engine."""

from __future__ import annotations

import asyncio
from typing import Any

import ray
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group

from kernelevolve.core.errors import UserError

_SLIVER = 0.001
"""Of the resource that a machine with a kind of GPU has: enough to be placed there."""


async def reserve(gpus: int, accelerator: str | None, seconds: float) -> PlacementGroup:
    """A bundle for each GPU, on as few machines as may be; one without any for an engine that runs on cores. Waits until they are free.

    `accelerator`: the kind, as Ray names it. Raises UserError where they are not there within that time.
    """
    bundle: dict[str, float] = {"GPU": 1.0} if gpus else {"CPU": 1.0}
    if accelerator is not None:
        bundle[f"accelerator_type:{accelerator}"] = _SLIVER
    group = placement_group([dict(bundle) for _ in range(max(1, gpus))], strategy="PACK")
    try:
        async with asyncio.timeout(seconds):
            await group.ready()
    except TimeoutError as error:
        remove_placement_group(group)
        what = f"{gpus} GPUs{f' of type {accelerator}' if accelerator else ''}" if gpus else "a core"
        raise UserError(
            f"llm.backend.gpus: {what} for the model were not free within {seconds:g} s (llm.backend.gpu_seconds); "
            f"the cluster has {_told(ray.cluster_resources())}, of which {_told(ray.available_resources())} are free"
        ) from error
    return group


def _told(resources: dict[str, Any]) -> str:
    return f"{resources.get('GPU', 0):g} GPUs and {resources.get('CPU', 0):g} cores"
