from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from kernelevolve.core.errors import UserError
from kernelevolve.core.evaluation import Measurement
from kernelevolve.store.base import GraphStore
from kernelevolve.store.reader import GraphReader
from kernelevolve.store.sqlite import SqliteStore
from tests.conformance.graph_store import GraphStoreConformance
from tests.conformance.records import make_entry


def child(code: str, folder: Path) -> subprocess.Popen[str]:
    """A process that runs `code` with a `store` on the folder."""
    start = f"""
        import resource, sys
        from pathlib import Path
        from kernelevolve.core.errors import UserError
        from kernelevolve.store.sqlite import SqliteStore
        from tests.conformance.records import make_entry
        folder = Path({str(folder)!r})
        """
    text = textwrap.dedent(start) + textwrap.dedent(code)
    root = Path(__file__).parents[2]
    return subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True, cwd=root)


class TestSqliteStore(GraphStoreConformance):
    def open(self, folder: Path) -> GraphStore:
        return SqliteStore(folder)


def test_nodes_survive_a_kill_and_the_lock_does_not(tmp_path: Path) -> None:
    process = child(
        """
        store = SqliteStore(folder)
        step = 0
        while True:
            store.insert([make_entry(step, 1.0 + step)])
            print(step, flush=True)
            step += 1
        """,
        tmp_path,
    )
    assert process.stdout is not None
    acknowledged = [int(process.stdout.readline()) for _ in range(20)]
    with pytest.raises(UserError, match=f"another run uses .*process {process.pid}"):
        SqliteStore(tmp_path)
    process.send_signal(signal.SIGKILL)
    acknowledged += [int(line) for line in process.stdout if line.endswith("\n")]
    process.wait()
    process.stdout.close()
    store = SqliteStore(tmp_path)
    steps = [node.step for node in store.log(0)]
    assert steps[: len(acknowledged)] == acknowledged
    for node in store.log(0):
        assert store.kernel(node.kernel_id).id == node.kernel_id
    assert store.next_step(0) == len(steps)
    store.close()


def test_a_second_store_in_the_same_process_is_refused(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    with pytest.raises(UserError, match="another run uses"):
        SqliteStore(tmp_path)
    store.close()
    SqliteStore(tmp_path).close()


def test_graphs_in_one_folder_know_nothing_of_each_other(tmp_path: Path) -> None:
    """Two processes write at the same time; what is there of one is not there of the other."""
    writer = """
        store = SqliteStore(folder, name=NAME)
        for step in range(200):
            store.insert([make_entry(step, 1.0 + step)])
        """
    writers = [child(writer.replace("NAME", repr(name)), tmp_path) for name in ("one", "two")]
    assert [process.wait(60) for process in writers] == [0, 0]
    for process in writers:
        assert process.stdout is not None
        process.stdout.close()
    with closing(SqliteStore(tmp_path, name="one")) as one:
        one.insert([make_entry(200)])
        with pytest.raises(UserError, match=r"another run uses .*one\.sqlite"):
            SqliteStore(tmp_path, name="one")
        with closing(SqliteStore(tmp_path, name="two")) as two:
            assert (one.statistics()["nodes"], two.statistics()["nodes"]) == (201, 200)
    assert GraphReader(tmp_path, "two").statistics()["nodes"] == 200
    with pytest.raises(UserError, match=r"three\.sqlite holds no run's graph"):
        GraphReader(tmp_path, "three")


def test_another_format_is_refused(tmp_path: Path) -> None:
    SqliteStore(tmp_path).close()
    with sqlite3.connect(tmp_path / "graph.sqlite") as connection:
        connection.execute("UPDATE meta SET value = '99' WHERE key = 'format'")
    connection.close()
    for _ in range(2):
        with pytest.raises(UserError, match="has format 99, this version reads format"):
            SqliteStore(tmp_path)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "graph.sqlite").write_bytes(b"no database " * 100)
    with pytest.raises(UserError, match="not a run's graph"):
        SqliteStore(tmp_path)


def test_a_file_size_limit_is_a_full_disk(tmp_path: Path) -> None:
    process = child(
        """
        store = SqliteStore(folder)
        store.insert([make_entry(0)])
        resource.setrlimit(resource.RLIMIT_FSIZE, (4, 4))
        try:
            store.insert([make_entry(1)])
        except UserError as error:
            print(error)
        print([node.step for node in store.log(0)], int(store.statistics()["nodes"]))
        """,
        tmp_path,
    )
    output, _ = process.communicate(timeout=30)
    assert "is full" in output
    assert output.endswith("[0] 1\n")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting takes privileges that this user has not")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_keeps_what_was_inserted(small_disk: Path) -> None:
    store = SqliteStore(small_disk / "run")
    inserting = (store.insert([make_entry(step)]) for step in range(10_000))
    with pytest.raises(UserError, match="is full"):
        list(inserting)
    count = int(store.statistics()["nodes"])
    assert count > 10
    assert [node.step for node in store.log(0)] == list(range(count))
    store.close()
    subprocess.run(["mount", "-o", "remount,size=4m", small_disk], check=True)
    store = SqliteStore(small_disk / "run")
    store.insert([make_entry(count)])
    assert [node.step for node in store.log(0)] == list(range(count + 1))
    store.close()


@pytest.mark.parametrize("room", [8, 20, 40, 60])
def test_no_room_for_a_new_database_is_a_full_disk(small_disk: Path, room: int) -> None:
    """What SQLite makes of that depends on which of its files comes to be too long."""
    filling = small_disk / "filling"
    filling.write_bytes(bytes((1 << 20) - (room << 10)))
    with pytest.raises(UserError, match="is full"):
        SqliteStore(small_disk / "run").insert([make_entry(0)])
    filling.unlink()
    store = SqliteStore(small_disk / "run")
    store.insert([make_entry(0)])
    store.close()


def test_a_guess_ranks_a_kernel_and_is_told_as_nobodys_best(tmp_path: Path) -> None:
    guess = Measurement(
        speedup=None, not_measured="busy", rough_speedup=9.0, reference_seconds=9.0, kernel_seconds=1.0, rounds=1
    )
    (measured, first), (guessed, second) = make_entry(0, 2.0), make_entry(1, 1.0)
    guessed = guessed.model_copy(update={"evaluation": guessed.evaluation.model_copy(update={"measurement": guess})})
    with closing(SqliteStore(tmp_path)) as store:
        store.insert([(guessed, second), (measured, first)])
        assert [node.fitness for node in store.best(2)] == [9.0, 2.0]
        assert store.statistics()["best_fitness"] == 2.0
        assert max(best for *_, best in store.tallies()) == 2.0
        assert max(origin.best_fitness for origin in store.origins()) == 2.0
