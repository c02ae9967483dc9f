"""A machine of the cluster dies in mid-run, and another joins: nothing that was inserted is lost, nothing is there twice."""

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
folder, marks, joins = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "joins"
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
second = cluster.add_node(num_cpus=1)
ray.init(address=cluster.address, logging_level="error", log_to_driver=False)
evaluator = DoubleEvaluator(marks, seconds=0.02)
killed = False
with build(folder, Budget(evaluations=400), DoubleOperator(), evaluator, "greedy", count=4) as archipelago:
    for progress in archipelago.watch(0.05):
        if progress.nodes > 60 and not killed:
            cluster.remove_node(second, allow_graceful=False)
            killed = True
            if joins:
                cluster.add_node(num_cpus=1)
nodes = len([node for node in ray.nodes() if node["Alive"]])
print(json.dumps({"killed": killed, "restarts": progress.restarts, "spent": progress.spent.evaluations,
                  "reason": progress.reason, "alive": nodes}), flush=True)
ray.shutdown()
cluster.shutdown()
"""


def drive(*arguments: str) -> dict[str, Any]:
    """Run the driver in a process of its own; what it tells in the end."""
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return told


@pytest.mark.slow
@pytest.mark.parametrize("then", ["stays away", "joins"])
def test_a_machine_dies_in_mid_run(tmp_path: Path, marks: Path, then: str) -> None:
    told = drive(str(tmp_path / "run"), str(marks), then)
    assert told["killed"]
    assert told["restarts"] >= 1, "islands were spread, so that some died with it"
    assert told["alive"] == (2 if then == "joins" else 1)
    assert told["spent"] == 400
    assert told["reason"] == "400 evaluations are done"
    store = SqliteStore(tmp_path / "run", patience=15)
    nodes = [node for island in range(ISLANDS) for node in store.log(island) if node.island == island]
    assert len({node.id for node in nodes}) == len(nodes)
    judged = {node.kernel_id for node in nodes if not node.cached}
    assert len(judged) == 400
    # Two candidates in flight on each of the islands that died are all that may have been begun twice.
    begun = evaluated(marks)
    assert set(begun) >= judged
    assert len(begun) - len(set(begun)) <= 2 * told["restarts"]
    for island in range(ISLANDS):
        steps = [node.step for node in nodes if node.island == island]
        assert len(steps) == len(set(steps))
        assert steps, "it went on after it was started again"
    store.close()
