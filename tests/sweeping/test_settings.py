"""The settings of a sweep: what is legal, and what each run gets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kernelevolve import cli
from kernelevolve.core.errors import UserError
from kernelevolve.sweeping.settings import load

GIVEN = ("tasks=dlrm/map_id,kernelbench:level1/36", "sweep.dir=out put")


def test_each_run_gets_the_settings_that_are_not_the_sweeps() -> None:
    found = load([*GIVEN, "budget.seconds=30", "search=greedy", "sweep.at_a_time=3"])
    assert found.tasks == "dlrm/map_id,kernelbench:level1/36"
    assert found.sweep.dir == "out put"
    assert (found.sweep.at_a_time, found.sweep.retry) == (3, False)
    assert found.run.budget.seconds == 30
    assert found.overrides == ("budget.seconds=30", "search=greedy")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), r"which tasks\? Give tasks="),
        (("tasks=dlrm",), "which folder"),
        ((*GIVEN, "sweep.at_a_tim=2"), r"there is no setting sweep\.at_a_tim: did you mean sweep\.at_a_time\?"),
        ((*GIVEN, "budget.second=2"), r"there is no setting budget\.second: did you mean budget\.seconds\?"),
        ((*GIVEN, "sweep.at_a_time=0"), r"sweep\.at_a_time=0: input should be greater than or equal to 1"),
        ((*GIVEN, "sweep.retry=perhaps"), r"sweep\.retry=\"perhaps\": input should be a valid boolean"),
        ((*GIVEN, "search=gredy"), "there is no such option; search is one of"),
        ((*GIVEN, "task=dlrm/map_id"), "task: a sweep takes tasks="),
        ((*GIVEN, "run.dir=x"), r"run\.dir: each run of a sweep has its own folder"),
        ((*GIVEN, "seed=0,1"), "seed=0,1 names several values"),
        ((*GIVEN, "taks=x"), r"there is no setting taks: did you mean tasks?"),
    ],
)
def test_an_illegal_setting_is_one_line(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load(words)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ("dlrm/nothing", "no task 'dlrm/nothing'"),
        ("kernelbench:level1", "KERNELBENCH_DIR"),
        ("nowhere.py", "no task file"),
    ],
)
def test_a_task_that_is_not_there_is_told_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tasks: str, message: str
) -> None:
    monkeypatch.setenv("KERNELBENCH_DIR", str(tmp_path / "nothing"))
    assert cli.main(["sweep", f"tasks={tasks}", f"sweep.dir={tmp_path / 'out'}"]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_sweep_goes_on_only_with_its_own_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is left to do in these sweeps, so that no Ray is started."""
    out = tmp_path / "out"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("x")
    words = ["sweep", "tasks=dlrm/map_id", "budget.seconds=30"]
    assert cli.main([*words, f"sweep.dir={tmp_path / 'other'}"]) == 2
    assert "is not empty and holds no sweep" in capsys.readouterr().err
    _finished(out, words)
    assert cli.main([*words, f"sweep.dir={out}", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert [(row["task"], row["status"]) for row in told["tasks"]] == [("dlrm/map_id", "refused")]
    assert cli.main([*words[:2], "budget.seconds=60", f"sweep.dir={out}"]) == 2
    assert "holds a sweep with budget.seconds=30.0, not 60.0" in capsys.readouterr().err
    assert cli.main([*words, "cluster.cpus=1", "sweep.at_a_time=2", f"sweep.dir={out}"]) == 1


def _finished(out: Path, words: list[str]) -> None:
    from kernelevolve import config
    from kernelevolve.sweeping.folder import SweepFolder
    from kernelevolve.sweeping.row import Ending, Row

    settings = config.dump(load([*words[1:], f"sweep.dir={out}"]).run)
    plain = {name: part for name, part in settings.items() if name not in ("task", "cluster")}
    folder = SweepFolder(out)
    with folder.open(plain, ["dlrm/map_id"]):
        folder.add(Row(task="dlrm/map_id", status=Ending.REFUSED, reason="for a test"))
