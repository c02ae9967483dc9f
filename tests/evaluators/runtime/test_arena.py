"""Memory of inputs: what one player leaves in it, the next does not find."""

from __future__ import annotations

import os
import signal
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
import torch

from evaluators.runtime.cpu.arena import Arena, Slots, views
from evaluators.runtime.cpu.fork_server import ForkServer
from evaluators.runtime.cpu.runner import Seat
from evaluators.runtime.layout import TABLE_BYTES, layout_of
from evaluators.runtime.tensors import Described
from evaluators.verdict import FailedError
from kernelevolve.core.task import Task

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


def test_a_player_has_no_memory_of_others() -> None:
    """Neither their inputs, which are the reference's too, nor the values that calls to come will get."""
    with closing(ForkServer(threads=1, confined=False)) as server:
        server.start()
        spawn = partial(server.spawn, 1 << 20, trusted=False, memory_gb=1.0, cpu_seconds=60.0)
        with spawn() as first:
            server.stage(1 << 20)
            with spawn() as second:
                for player in (first, second):
                    assert player.ask({"do": "inputs", "layout": layout_of([]).model_dump()}, 30.0) == {}
                    maps = Path(f"/proc/{player.pid}/maps").read_text().splitlines()
                    shared = [line.split()[4] for line in maps if "memfd:kernelevolve-inputs" in line]
                    assert shared == [str(os.fstat(player.arena.fd).st_ino)]


def test_a_turn_takes_its_values_from_the_stage() -> None:
    """After the player has prepared, and as many as were asked for."""
    kernel = """import torch

class ModelNew:
    first = None

    def __call__(self, x):
        if self.first is None:
            self.first = x[0].clone()
        return torch.stack([x.sum(), self.first])
"""
    layout = layout_of(INPUTS, 3)
    with closing(ForkServer(threads=1, confined=False)) as server:
        spawn = partial(server.spawn, layout.total_bytes, trusted=False, memory_gb=1.0, cpu_seconds=60.0)
        with spawn() as player:
            seat = Seat(player)
            seat.allow(30.0)
            seat.load(kernel, Task(name="sums", source=kernel), [])
            seat.order(do="build")
            seat.lay_out(INPUTS, 3)
            stage = Slots(server.stage(layout.total_bytes).memory, layout)
            for slot in range(3):
                seat.inputs(slot)[0].fill_(-1.0)
                stage.inputs(slot)[0].fill_(slot + 1.0)
            turn = seat.turn(3, 1, warm=True, staged=2)
            (played,) = server.play([turn])
            assert seat.played(turn, played) > 0
            (warm,) = played.told()["calls"]
            result = Described.model_validate(warm["outputs"][0])
            results = [seat.read_run(result, address, 0, 2).tolist() for address in seat.pointers(3)]
            assert results == [[1000.0, -1.0], [2000.0, -1.0], [-1000.0, -1.0]], "before them it saw what was there"


def test_a_player_that_is_gone_plays_no_turn_and_spoils_none() -> None:
    with closing(ForkServer(threads=1, confined=False)) as server:
        spawn = partial(server.spawn, 1 << 20, trusted=False, memory_gb=1.0, cpu_seconds=60.0)
        with spawn() as gone, spawn() as there:
            seats = [Seat(gone), Seat(there)]
            for seat in seats:
                seat.allow(30.0)
            os.kill(gone.pid, signal.SIGKILL)
            for _ in range(2):
                turns = [seat.turn(0, 1) for seat in seats]
                dead, alive = server.play(turns)
                with pytest.raises(FailedError, match="SIGKILL"):
                    seats[0].played(turns[0], dead)
                assert seats[1].played(turns[1], alive) > 0
