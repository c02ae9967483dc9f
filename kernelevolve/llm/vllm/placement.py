"""Placement of an engine on GPUs of the cluster."""

from __future__ import annotations

import asyncio
from typing import Any

import ray
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group

from kernelevolve.core.errors import UserError

_SLIVER = 0.001
"""The amount of the accelerator-type resource that is requested; any positive amount restricts the placement."""


async def reserve(gpus: int, accelerator: str | None, seconds: float) -> PlacementGroup:
    """Reserve a bundle for each GPU on as few machines as possible, and wait until they are free.

    Args:
        gpus: The number of GPUs; 0 reserves one core.
        accelerator: The type of the GPUs, as Ray names it; None: any.
        seconds: The maximum seconds to wait.

    Returns:
        The placement group.

    Raises:
        UserError: The resources were not free in time.
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
            f"the cluster has {_described(ray.cluster_resources())}, of which {_described(ray.available_resources())} are free"
        ) from error
    return group


def _described(resources: dict[str, Any]) -> str:
    return f"{resources.get('GPU', 0):g} GPUs and {resources.get('CPU', 0):g} cores"
