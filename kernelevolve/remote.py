"""Answers of Ray actors: errors that are meant for others than us arrive as they were raised."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, TypeVar

import ray
from ray.exceptions import RayTaskError

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


def plain(error: RayTaskError, *kinds: type[Exception]) -> BaseException:
    """What an actor raised, where it is for others; else the error with the actor's traceback."""
    if isinstance(error.cause, UserError):
        return UserError(str(error.cause))
    return error.cause if kinds and isinstance(error.cause, kinds) else error
