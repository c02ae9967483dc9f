"""Calls to Ray actors, whose user errors are raised unwrapped, and the placement of actors on machines."""

from __future__ import annotations

from collections.abc import Awaitable
from functools import cache
from typing import Any, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from kernelevolve.core.bystanders import register_bystander
from kernelevolve.core.errors import UserError

T = TypeVar("T")


def ask(reference: Any, *kinds: type[Exception]) -> Any:
    """Wait for the result of a call with `ray.get`.

    Args:
        reference: The reference that the call returned.
        *kinds: Types of errors besides UserError that are raised unwrapped.
    """
    try:
        return ray.get(reference)
    except RayTaskError as error:
        raise plain(error, *kinds) from None


async def answered(reference: Awaitable[Any], kind: type[T], *kinds: type[Exception]) -> T:
    """Await the result of a call, which is of type `kind`.

    Errors of the types `kinds` and UserError are raised unwrapped.
    """
    del kind
    try:
        found: T = await reference
        return found
    except RayTaskError as error:
        raise plain(error, *kinds) from None


def death_message(who: str, when: str, error: RayError) -> str:
    """Return the message for the death of one of our processes.

    Args:
        who: The process.
        when: The circumstances, which follow "dies".
        error: The error of Ray.
    """
    reason = " ".join(str(error).split())[:300]
    return (
        f"{who} dies {when}: is there memory left, or does a program kill it? A run that has begun continues with "
        f"`kernelevolve resume`. Ray reports: {reason}"
    )


def plain(error: RayTaskError, *kinds: type[Exception]) -> BaseException:
    """Return the error that an actor raised if it is a UserError or one of `kinds`, else the wrapper.

    The wrapper contains the actor's traceback.
    """
    if isinstance(error.cause, UserError):
        return UserError(str(error.cause))
    return error.cause if kinds and isinstance(error.cause, kinds) else error


@cache
def stand_by() -> None:
    """Let this process be stopped for moments in which another one measures, if it is a Ray worker of the cluster's only machine.

    Where there are several machines, processes of the others wait for its answers.
    """
    if ray.is_initialized() and ray.get_runtime_context().worker.mode == ray.WORKER_MODE and len(ray.nodes()) == 1:
        register_bystander()


def machines() -> list[dict[str, float]]:
    """Return the resources of each machine of the cluster, by Ray's names."""
    return [dict(node["Resources"]) for node in ray.nodes() if node["Alive"]]


def spread(index: int) -> NodeAffinitySchedulingStrategy:
    """Return the placement of the `index`-th of several actors: the machines in turn.

    If the machine is lost, another one is used. Ray's own "SPREAD" starts at a random machine for each actor without
    resources, so that all may end up on the same one.
    """
    alive = sorted(str(node["NodeID"]) for node in ray.nodes() if node["Alive"])
    return NodeAffinitySchedulingStrategy(alive[index % len(alive)], soft=True)
