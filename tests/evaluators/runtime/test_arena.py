"""Memory of inputs: what one player leaves in it, the next does not find."""

from __future__ import annotations

import os
import signal
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
import torch

from evaluators.runtime.base import TimedBlock
from evaluators.runtime.cpu.arena import Arena, views
from evaluators.runtime.cpu.fork_server import ForkServer
from evaluators.runtime.cpu.runtime import CpuRuntime
from evaluators.runtime.layout import TABLE_BYTES, layout_of

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
            with server.spawn(size, trusted=False, memory_gb=1.0, cpu_seconds=60.0) as process:
                found = process.arena.fd
                process.arena.memory[:4] = b"left"
                assert process.ask({"do": "fallback", "layout": layout_of([]).model_dump()}, 30.0) == {"fallback": None}
            return found

        first = spawned(1 << 20)
        with server.spawn(1 << 20, trusted=False, memory_gb=1.0, cpu_seconds=60.0) as process:
            assert process.arena.fd == first
            assert bytes(process.arena.memory[:4]) == bytes(4)
            with server.spawn(1 << 20, trusted=False, memory_gb=1.0, cpu_seconds=60.0) as other:
                assert other.arena.fd != first, "it has an owner"
        with server.spawn(2 << 20, trusted=False, memory_gb=1.0, cpu_seconds=60.0) as process:
            assert process.arena.capacity == 2 << 20


def test_a_player_has_no_memory_of_others() -> None:
    """Neither their inputs, which are the reference's too, nor the values that calls to come will get."""
    with closing(ForkServer(threads=1, confined=False)) as server:
        server.start()
        spawn = partial(server.spawn, 1 << 20, trusted=False, memory_gb=1.0, cpu_seconds=60.0)
        with spawn() as first:
            server.stage(1 << 20)
            with spawn() as second:
                for process in (first, second):
                    assert process.ask({"do": "fallback", "layout": layout_of([]).model_dump()}, 30.0) == {
                        "fallback": None
                    }
                    maps = Path(f"/proc/{process.pid}/maps").read_text().splitlines()
                    shared = [line.split()[4] for line in maps if "memfd:kernelevolve-inputs" in line]
                    assert shared == [str(os.fstat(process.arena.fd).st_ino)]


def test_a_runner_that_is_gone_spoils_no_block_of_the_others() -> None:
    with closing(CpuRuntime(ForkServer(threads=1, confined=False), 1)) as runtime:
        spawn = partial(runtime.spawn, 1 << 20, trusted=False, memory_gb=1.0, processor_seconds=60.0)
        with spawn() as gone, spawn() as there:
            for runner in (gone, there):
                runner.allow(30.0)
            os.kill(gone.process.pid, signal.SIGKILL)
            for _ in range(2):
                dead, alive = runtime.run([TimedBlock(runner, 0, 1) for runner in (gone, there)])
                assert dead.failure is not None
                assert "SIGKILL" in dead.failure.summary
                assert alive.checked().seconds > 0
