"""The driver process dies by SIGKILL in mid-run, with its cluster; the run goes on in another."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from kernelevolve.core.budget import Budget
from kernelevolve.store.sqlite import SqliteStore
from tests.islands.conftest import Make
from tests.islands.doubles import evaluated

DRIVER = """
import sys
from pathlib import Path
import ray
from kernelevolve.core.budget import Budget
from tests.islands.conftest import build
from tests.islands.doubles import DoubleEvaluator, DoubleOperator
folder, marks = Path(sys.argv[1]), Path(sys.argv[2])
ray.init(address="local", num_cpus=2, include_dashboard=False, logging_level="error", log_to_driver=False)
evaluator = DoubleEvaluator(marks, seconds=0.01)
with build(folder, Budget(evaluations=10**6), DoubleOperator(), evaluator, "greedy") as archipelago:
    for progress in archipelago.watch(0.05):
        print(progress.nodes, flush=True)
"""


def test_a_killed_run_resumes_without_loss_or_repetition(make: Make, tmp_path: Path, marks: Path) -> None:
    command = [sys.executable, "-c", DRIVER, str(tmp_path / "run"), str(marks)]
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    driver = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2], env=environment
    )
    assert driver.stdout is not None
    seen = 0
    while seen < 60:
        line = driver.stdout.readline()
        assert line, "the driver ended by itself"
        seen = int(line)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    driver.stdout.close()

    # The cluster of a killed driver takes a moment to end.
    store = SqliteStore(tmp_path / "run", patience=15)
    before = {node.id: node for island in range(2) for node in store.log(island)}
    store.close()
    assert len(before) >= seen
    begun = evaluated(marks)
    assert len(begun) == len(set(begun))
    for file in marks.iterdir():
        file.unlink()

    first: int | None = None
    with make(Budget(evaluations=10**6), search="greedy") as archipelago:
        for progress in archipelago.watch(0.05):
            first = progress.nodes if first is None else first
            if progress.nodes >= first + 60:
                break
    assert first is not None
    assert first >= len(before)
    store = SqliteStore(tmp_path / "run")
    after = {node.id: node for island in range(2) for node in store.log(island)}
    assert after.items() >= before.items()
    known = {node.kernel_id for node in before.values()}
    assert not known & set(evaluated(marks))
    # What had begun and is not in the store was in flight: two candidates on each of two islands.
    assert len(set(begun) - known) <= 4
    for island in range(2):
        own = [node.step for node in store.log(island) if node.island == island]
        assert len(own) == len(set(own))
    store.close()
