"""What a sweep keeps and adds up: rows, scores, and the files for KernelBench's scripts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kernelevolve.core.errors import UserError
from kernelevolve.core.evaluation import Ratio
from kernelevolve.report.outcome import Outcome
from kernelevolve.sweeping.folder import SweepFolder
from kernelevolve.sweeping.kernelbench_results import write_kernelbench_results
from kernelevolve.sweeping.row import Ending, Row
from kernelevolve.sweeping.scores import scores_of


def right(number: int, speedup: float | None, low: float = 0.0, over_compile: float | None = None) -> Row:
    ratio = Ratio(value=speedup, low=low or speedup, high=speedup) if speedup else None
    compiled = Ratio(value=over_compile, low=over_compile, high=over_compile) if over_compile else None
    status = Outcome.NOT_MEASURED if ratio is None else Outcome.FASTER if ratio.faster else Outcome.NOT_FASTER
    return Row(
        task=f"kernelbench:level1/{number}_Name",
        status=status,
        speedup=ratio,
        over_compile=compiled,
        eager_seconds=0.002 * (speedup or 1),
        kernel_seconds=0.002,
        kernel=f"runs/{number}/best/kernel.py",
        reason="" if ratio else "other programs",
        compiled=True,
        problem=(1, number),
        device="cpu",
        hardware="a processor",
    )


WRONG = Row(task="kernelbench:level1/5_Name", status=Outcome.NONE_CORRECT, compiled=True, reason="off", problem=(1, 5))
REFUSED = Row(task="mine/op.py", status=Ending.REFUSED, reason="draws random numbers")
ROWS = (right(1, 4.0, 3.0, 2.0), right(2, 1.6, 1.4), right(3, 0.9, 0.7), right(4, None), WRONG, REFUSED)


def test_scores_count_correct_tasks_above_each_threshold() -> None:
    scores = scores_of(ROWS)
    assert (scores.tasks, scores.correct) == (6, 4)
    assert scores.fast == pytest.approx({"0": 4 / 6, "0.8": 3 / 6, "1": 2 / 6, "1.5": 2 / 6, "2": 1 / 6})
    assert scores.surely_fast == pytest.approx({"0": 4 / 6, "0.8": 2 / 6, "1": 2 / 6, "1.5": 1 / 6, "2": 1 / 6})
    assert scores.over_eager == pytest.approx((4.0 * 1.6 * 0.9) ** (1 / 3))
    assert scores.over_compile == pytest.approx(2.0)
    nothing = scores_of([])
    assert nothing.over_eager is None
    assert set(nothing.fast.values()) == {0.0}


def test_rows_survive_their_journal_and_a_torn_last_line(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path / "out")
    names = [row.task for row in ROWS]
    with folder.open({"seed": 0}, names):
        for row in ROWS:
            folder.add(row)
        folder.add(right(5, 2.0))
        with (tmp_path / "out" / "results.jsonl").open("a") as file:
            file.write('{"task": "half')
        found = folder.rows()
        assert found == {**{row.task: row for row in ROWS}, WRONG.task: right(5, 2.0)}, "the last row of a task counts"
        folder.add(REFUSED)
        assert folder.rows() == found
        assert folder.in_order(found)[0] == ROWS[0]
    lines = (tmp_path / "out" / "results.jsonl").read_text().splitlines()
    (tmp_path / "out" / "results.jsonl").write_text("\n".join(["{}", *lines]))
    with folder.open({"seed": 0}, names), pytest.raises(UserError, match=r"results\.jsonl, line 1 is damaged"):
        folder.rows()


def test_two_sweeps_do_not_share_a_folder(tmp_path: Path) -> None:
    with SweepFolder(tmp_path).open({}, ["a"]), pytest.raises(UserError, match="another sweep uses"):
        SweepFolder(tmp_path).open({}, ["a"]).__enter__()
    with SweepFolder(tmp_path).open({}, ["a"]):
        pass


def test_tasks_keep_their_files_whatever_else_is_swept(tmp_path: Path) -> None:
    first, again = SweepFolder(tmp_path), SweepFolder(tmp_path)
    with first.open({}, ["a/op.py", "a:op"]):
        files = [first.task_file(name) for name in ("a/op.py", "a:op")]
    with again.open({}, ["A-op", "a:op", "b"]):
        assert [again.task_file(name) for name in ("a/op.py", "a:op")] == files
        stems = {again.run(name).name.lower() for name in ("a/op.py", "a:op", "A-op", "b")}
    assert len(stems) == 4


def test_files_for_kernelbenchs_scripts(tmp_path: Path) -> None:
    folders = write_kernelbench_results(tmp_path, ROWS)
    assert [folder.name for folder in folders] == ["level1", "tasks"]
    results = json.loads((tmp_path / "level1" / "eval_results.json").read_text())
    assert list(results) == ["1", "2", "3", "4", "5"]
    assert all(len(samples) == 1 for samples in results.values())
    for samples in results.values():
        assert {"sample_id", "compiled", "correctness", "metadata", "runtime", "runtime_stats"} == set(samples[0])
    assert (results["1"][0]["correctness"], results["1"][0]["runtime"]) == (True, 2.0), "milliseconds"
    assert (results["4"][0]["correctness"], results["4"][0]["runtime"]) == (True, -1.0)
    assert (results["5"][0]["compiled"], results["5"][0]["correctness"]) == (True, False)
    assert results["5"][0]["metadata"]["reason"] == "off"
    baseline = json.loads((tmp_path / "level1" / "baseline_time_torch.json").read_text())
    assert baseline["level1"]["1_Name.py"]["mean"] == pytest.approx(8.0)
    others = json.loads((tmp_path / "tasks" / "eval_results.json").read_text())
    assert others["1"][0]["metadata"]["problem_name"] == "op.py"
    fast = [
        number
        for number, (entry,) in results.items()
        if entry["correctness"]
        and (baseline["level1"].get(entry["metadata"]["problem_name"], {"mean": 0})["mean"] / entry["runtime"]) > 1.5
    ]
    assert fast == ["1", "2"], "as KernelBench's score is computed from its files"
