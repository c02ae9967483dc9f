"""Memory of inputs: what one player leaves in it, the next does not find."""

from __future__ import annotations

import os
from contextlib import closing

import pytest
import torch

from evaluators.arena import TABLE_BYTES, Arena, layout_of, views
from evaluators.client import ForkServer

INPUTS = [{"dtype": "float32", "shape": [1000], "stride": [1]}]


@pytest.mark.parametrize("slots", [1, 3])
def test_nothing_is_left_for_the_next(slots: int) -> None:
    layout = layout_of(INPUTS, slots)
    with closing(Arena(1 << 20)) as arena:
        arena.use(layout)
        arena.memory[:] = b"\xff" * arena.capacity
        arena.clear()
        # Before anything is read: that takes pages again.
        kept = os.fstat(arena.fd).st_blocks * 512
        assert kept <= layout.total_bytes + 4096, "pages beyond what is used are given back"
        assert not any(arena.memory[:])
        views(arena.memory, layout, slots - 1)[0].fill_(1.0)
        assert torch.frombuffer(arena.memory, dtype=torch.uint8, count=TABLE_BYTES).sum() == 0


def test_memory_goes_from_one_player_to_the_next_of_its_size() -> None:
    with closing(ForkServer(threads=1, confined=False)) as server:

        def spawned(size: int) -> int:
            with server.spawn(size, trusted=False, memory_gb=1.0, cpu_seconds=60.0) as player:
                found = player.arena.fd
                player.arena.memory[:4] = b"left"
                assert player.ask({"do": "inputs", "layout": layout_of([]).model_dump()}, 30.0) == {}
            return found

        first = spawned(1 << 20)
        with server.spawn(1 << 20, trusted=False, memory_gb=1.0, cpu_seconds=60.0) as player:
            assert player.arena.fd == first
            assert bytes(player.arena.memory[:4]) == bytes(4)
            with server.spawn(1 << 20, trusted=False, memory_gb=1.0, cpu_seconds=60.0) as other:
                assert other.arena.fd != first, "it has an owner"
        with server.spawn(2 << 20, trusted=False, memory_gb=1.0, cpu_seconds=60.0) as player:
            assert player.arena.capacity == 2 << 20
