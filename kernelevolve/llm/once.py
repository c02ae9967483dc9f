"""What many wait for and one makes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Once(Generic[T]):
    """Made when it is first asked for, and again where that failed, where it is of no use any more, or in another event loop."""

    def __init__(
        self, make: Callable[[], Coroutine[Any, Any, T]], of_use: Callable[[T], bool] = lambda _: True
    ) -> None:
        self._make = make
        self._of_use = of_use
        self._task: asyncio.Task[T] | None = None

    async def get(self) -> T:
        """Raises what making it raises, to all who wait. Cancelling this one leaves it to the others."""
        task = self._task
        if task is None or self._over(task):
            task = self._task = asyncio.create_task(self._make())
        return await asyncio.shield(task)

    def _over(self, task: asyncio.Task[T]) -> bool:
        if task.get_loop() is not asyncio.get_running_loop():
            return True
        return task.done() and (task.cancelled() or task.exception() is not None or not self._of_use(task.result()))

    async def end(self) -> T | None:
        """Call off the making of it; what was made, if anything was."""
        task, self._task = self._task, None
        if task is None:
            return None
        task.cancel()
        await asyncio.wait([task])
        return None if task.cancelled() or task.exception() else task.result()
