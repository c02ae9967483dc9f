"""A machine of the cluster dies in mid-run, and another joins later: nothing that was inserted is lost, nothing is there twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kernelevolve.store.sqlite import SqliteStore
from tests.islands.doubles import evaluated

ROOT = Path(__file__).parents[2]
ISLANDS = 4
DRIVER = """
import json, sys
from pathlib import Path
import ray
from ray.cluster_utils import Cluster
from kernelevolve.core.budget import Budget
from tests.islands.conftest import build
from tests.islands.doubles import DoubleEvaluator, DoubleOperator
folder, marks = Path(sys.argv[1]), Path(sys.argv[2])
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
second = cluster.add_node(num_cpus=1)
ray.init(address=cluster.address, logging_level="error", log_to_driver=False)
evaluator = DoubleEvaluator(marks, seconds=0.02)
until_then, joined = None, False
with build(folder, Budget(seconds=120), DoubleOperator(), evaluator, "greedy", count=4) as archipelago:
    for progress in archipelago.watch(0.05):
        made = {tally.island: tally.nodes for tally in progress.islands}
        if until_then is None and len(made) == 4 and min(made.values()) >= 5:
            cluster.remove_node(second, allow_graceful=False)
            until_then = made
        if progress.restarts and not joined:
            cluster.add_node(num_cpus=1)
            joined = True
        # Two of each island may have been in flight when the machine died: more is new work.
        if joined and all(made[island] > until_then[island] + 2 for island in made):
            archipelago.finish("enough")
told = {"restarts": progress.restarts, "spent": progress.spent.evaluations, "reason": progress.reason}
Path(sys.argv[3]).write_text(json.dumps(told))
ray.shutdown()
cluster.shutdown()
"""


def drive(run: Path, marks: Path, told: Path) -> dict[str, Any]:
    """Run the driver in a process of its own; what it tells in the end."""
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, str(run), str(marks), str(told)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(told.read_text())
    return found


@pytest.mark.thorough
def test_a_machine_dies_in_mid_run(tmp_path: Path, marks: Path) -> None:
    told = drive(tmp_path / "run", marks, tmp_path / "told.json")
    assert told["restarts"] >= 1, "islands were spread, so that some died with it"
    assert told["reason"] == "enough", "every island went on"
    store = SqliteStore(tmp_path / "run", patience=15)
    nodes = [node for island in range(ISLANDS) for node in store.log(island) if node.island == island]
    assert len({node.id for node in nodes}) == len(nodes)
    judged = {node.kernel_id for node in nodes if not node.cached}
    assert len(judged) == told["spent"]
    # Two candidates in flight on each of the islands that died are all that may have been begun twice.
    begun = evaluated(marks)
    assert set(begun) >= judged
    assert len(begun) - len(set(begun)) <= 2 * told["restarts"]
    for island in range(ISLANDS):
        steps = [node.step for node in nodes if node.island == island]
        assert len(steps) == len(set(steps)) > 0
    store.close()
