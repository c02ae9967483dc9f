"""Ray actors: which machine each of several stands on, and answers, whose errors arrive as they were raised where they are for others."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from kernelevolve.core.errors import UserError

T = TypeVar("T")


def ask(reference: Any, *kinds: type[Exception]) -> Any:
    """`ray.get`. `kinds`: of errors besides UserError that arrive plain."""
    try:
        return ray.get(reference)
    except RayTaskError as error:
        raise plain(error, *kinds) from None


async def answered(reference: Awaitable[Any], kind: type[T], *kinds: type[Exception]) -> T:
    """Await an actor's answer, which is of the given kind."""
    del kind
    try:
        found: T = await reference
        return found
    except RayTaskError as error:
        raise plain(error, *kinds) from None


def died(who: str, when: str, error: RayError) -> str:
    """A line on the death of a process of ours, for the last time that was tried: `who` it was, `when` it dies."""
    reason = " ".join(str(error).split())[:300]
    return (
        f"{who} dies {when}: is there memory left, or does somebody end it? A run that has begun goes on with "
        f"`kernelevolve resume`. Ray says: {reason}"
    )


def plain(error: RayTaskError, *kinds: type[Exception]) -> BaseException:
    """What an actor raised, where it is for others; else the error with the actor's traceback."""
    if isinstance(error.cause, UserError):
        return UserError(str(error.cause))
    return error.cause if kinds and isinstance(error.cause, kinds) else error


def spread(index: int) -> NodeAffinitySchedulingStrategy:
    """For the actor of this number among several: the machines in turn, and another where that one goes meanwhile.

    Ray's own "SPREAD" begins at a machine by chance for each actor that asks for no resources, so that all may come to stand on one.
    """
    alive = sorted(str(node["NodeID"]) for node in ray.nodes() if node["Alive"])
    return NodeAffinitySchedulingStrategy(alive[index % len(alive)], soft=True)
