"""A value that is created once and shared by all who wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Once(Generic[T]):
    """A value that is created on first use.

    It is created again if that failed, if it is no longer usable, or if it belongs to another event loop.
    """

    def __init__(
        self, make: Callable[[], Coroutine[Any, Any, T]], of_use: Callable[[T], bool] = lambda _: True
    ) -> None:
        """Create the holder.

        Args:
            make: Creates the value.
            of_use: Whether a value is still usable.
        """
        self._make = make
        self._of_use = of_use
        self._task: asyncio.Task[T] | None = None

    async def get(self) -> T:
        """Return the value.

        All waiting callers get the error if its creation fails. Cancelling one of them does not affect the others.
        """
        task = self._task
        if task is None or self._over(task):
            task = self._task = asyncio.create_task(self._make())
        return await asyncio.shield(task)

    def _over(self, task: asyncio.Task[T]) -> bool:
        if task.get_loop() is not asyncio.get_running_loop():
            return True
        return task.done() and (task.cancelled() or task.exception() is not None or not self._of_use(task.result()))

    async def end(self) -> T | None:
        """Cancel the creation. Return the value if it exists."""
        task, self._task = self._task, None
        if task is None:
            return None
        task.cancel()
        await asyncio.wait([task])
        return None if task.cancelled() or task.exception() else task.result()
