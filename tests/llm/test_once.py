"""One makes it, all get it; what failed or is of no use is made again."""

from __future__ import annotations

import asyncio

import pytest

from kernelevolve.llm.once import Once


class Maker:
    def __init__(self, *failures: int) -> None:
        self.made = 0
        self._failures = failures

    async def make(self) -> int:
        self.made += 1
        number = self.made
        await asyncio.sleep(0.01)
        if number in self._failures:
            raise OSError(str(number))
        return number


def test_all_who_wait_get_the_same() -> None:
    async def whole() -> list[int]:
        once = Once(Maker().make)
        return [*await asyncio.gather(*(once.get() for _ in range(5))), await once.get()]

    assert asyncio.run(whole()) == [1] * 6


def test_a_failure_reaches_all_who_waited_and_is_made_good_once() -> None:
    async def whole() -> tuple[list[object], list[int], int]:
        maker = Maker(1)
        once = Once(maker.make)

        async def stubborn() -> int:
            try:
                return await once.get()
            except OSError:
                return await once.get()

        first: list[object] = list(await asyncio.gather(*(stubborn() for _ in range(4))))
        return first, [await once.get()], maker.made

    assert asyncio.run(whole()) == ([2] * 4, [2], 2)


def test_what_is_of_no_use_is_made_again_and_who_gives_up_spoils_it_for_nobody() -> None:
    async def whole() -> None:
        maker = Maker()
        once = Once(maker.make, lambda number: number != 2)
        impatient, patient = (asyncio.create_task(once.get()) for _ in range(2))
        await asyncio.sleep(0)
        impatient.cancel()
        assert await patient == 1
        assert await once.end() == 1
        assert await once.get() == 2
        assert await once.get() == 3
        assert maker.made == 3

    asyncio.run(whole())


def test_another_event_loop_has_its_own() -> None:
    once = Once(Maker().make)
    assert (asyncio.run(once.get()), asyncio.run(once.get())) == (1, 2)


def test_what_is_being_made_can_be_called_off() -> None:
    async def whole() -> None:
        maker = Maker()
        once = Once(maker.make)
        assert await once.end() is None
        waiting = asyncio.create_task(once.get())
        await asyncio.sleep(0)
        assert await once.end() is None
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(whole())
