"""`kernelevolve measure`: the finalists of a finished run are measured again, and its summary is written anew."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest

from kernelevolve import config
from kernelevolve.core.errors import UserError
from kernelevolve.core.evaluation import Evaluation, Measurement, Status
from kernelevolve.core.graph import Node, Phase
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.task import Task
from kernelevolve.measuring import measure
from kernelevolve.report.files import write_json
from kernelevolve.report.folder import RunFolder
from kernelevolve.report.summary import Best, Summary
from kernelevolve.store.sqlite import SqliteStore
from tests.small_task import SOURCE, kernel

UNSURE = Measurement(
    speedup=None,
    not_measured="other programs used 1.9 of 2 cores",
    rough_speedup=2.0,
    reference_seconds=2.0,
    kernel_seconds=1.0,
    rounds=4,
)
TASK = Task(name="small", source=SOURCE)


def written(folder: RunFolder, kernels: list[Kernel]) -> Summary:
    """A run whose last measurement told nothing."""
    settings = config.load(["final.compile=false", "evaluation.final.max_seconds=0.3"], task="small")
    folder.create(config.dump(settings), TASK)
    entries = []
    for step, one in enumerate(kernels):
        verdict = Evaluation(kernel_id=one.id, task_id="t", device="cpu", status=Status.OK, measurement=UNSURE)
        node = Node(
            id=f"run.0.{step}",
            run="run",
            island=0,
            step=step,
            phase=Phase.DRAFT,
            operator="by hand",
            kernel_id=one.id,
            evaluation=verdict,
        )
        entries.append((node, one))
    with closing(SqliteStore(folder.path)) as store:
        store.insert(entries)
    found = Summary(
        run=folder.name,
        task=TASK.name,
        device="cpu",
        seed=0,
        state="done",
        stop="the budget is spent",
        best=Best(
            node="run.0.0",
            kernel_id=kernels[0].id,
            speedup=None,
            not_measured=UNSURE.not_measured,
            speedup_over_compile=None,
            eager_seconds=2.0,
            kernel_seconds=1.0,
            measured="search",
        ),
        final_note="the machine broke",
        evaluations={"ok": len(kernels)},
        nodes=len(kernels),
        seconds={"search": 7.0},
        versions={"python": "3"},
        hardware={"cores": "2"},
    )
    write_json(folder.summary_file, found.to_json())
    return found


@pytest.mark.alone
def test_a_finished_run_is_measured_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = RunFolder(tmp_path / "run")
    right = Kernel(source=kernel(), language="python")
    wrong = Kernel(source=kernel(3.0), language="python")
    before = json.loads(json.dumps(written(folder, [wrong, right]).to_json()))
    assert before["best"]["speedup"] is None
    assert before["best"]["not_measured"] == UNSURE.not_measured
    assert measure(folder.path, ["evaluation.final.max_rounds=30"]) == 0
    said = capsys.readouterr()
    assert said.err.splitlines()[0].startswith("kernelevolve: measuring the best 2 against eager: about 1 s, up to 1 s")
    after = json.loads(folder.summary_file.read_text())
    best = after["best"]
    assert best["kernel_id"] == right.id
    assert best["measured"] == "final"
    assert (best["speedup"] is None) == bool(best["not_measured"])
    assert set(best["variants"]) == {"rows_3"}
    assert list(after["final"]["dropped"]) == [wrong.id]
    assert after["final"]["note"] == ""
    assert after["seconds"]["search"] == 7.0
    assert (folder.best / "kernel.py").read_text() == right.source
    if best["speedup"] is None:
        assert f"kernelevolve measure {folder.path}" in " ".join(said.out.split())


@pytest.mark.parametrize(
    ("spoil", "overrides", "said"),
    [
        ("nothing", ["budget.seconds=9"], "only settings of evaluation.* and final.* can be changed"),
        ("nothing", ["evaluation.final.max_secnds=9"], "evaluation.final.max_secnds=9"),
        ("nothing", ["evaluation.final.max_seconds=soon"], "evaluation.final.max_seconds"),
        ("summary", [], "kernelevolve resume"),
        ("damage", [], "run.json cannot be read"),
        ("kernels", [], "there is nothing to measure"),
        ("folder", [], "holds no run"),
    ],
)
def test_what_cannot_be_measured_again_is_said_in_a_line(
    tmp_path: Path, spoil: str, overrides: list[str], said: str
) -> None:
    folder = RunFolder(tmp_path / "run")
    written(folder, [Kernel(source=kernel(), language="python")])
    if spoil == "summary":
        folder.summary_file.unlink()
    if spoil == "damage":
        folder.summary_file.write_text('{"run": 3}')
    if spoil == "kernels":
        (folder.path / "graph.sqlite").unlink()
        SqliteStore(folder.path).close()
    where = tmp_path / "elsewhere" if spoil == "folder" else folder.path
    with pytest.raises(UserError, match=said.replace("*", r"\*")) as error:
        measure(where, overrides)
    assert len(str(error.value).splitlines()) == 1
