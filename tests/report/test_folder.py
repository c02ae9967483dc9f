"""A run's folder: free or not, read back, damaged."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest

from kernelevolve.core.errors import UserError
from kernelevolve.core.task import Task
from kernelevolve.report.files import write_text
from kernelevolve.report.folder import FORMAT, RunFolder, check_possible, default_folder
from kernelevolve.store.sqlite import SqliteStore

TASK = Task(name="suite/thing", source="class Model: ...\n", seed=3)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "deep" / "run")
    folder.create({"task": "thing", "budget": {"seconds": 3.5}}, TASK)
    config, task = folder.load()
    assert config == {"task": "thing", "budget": {"seconds": 3.5}}
    assert task == TASK
    assert sorted(path.name for path in folder.path.iterdir()) == ["config.yaml", "task.json"]


def test_a_folder_with_a_run_names_resume(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.create({}, TASK)
    with pytest.raises(UserError, match="kernelevolve resume"):
        folder.create({}, TASK)


@pytest.mark.parametrize("name", ["note.txt", "note.txt/run"])
def test_nothing_of_the_users_is_overwritten(tmp_path: Path, name: str) -> None:
    (tmp_path / "note.txt").write_text("mine")
    for path in (tmp_path, tmp_path / name):
        with pytest.raises(UserError):
            RunFolder(path).create({}, TASK)
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]
    assert (tmp_path / "note.txt").read_text() == "mine"


def test_graphs_of_runs_of_one_name_share_a_store(tmp_path: Path) -> None:
    store = tmp_path / "new" / "store"
    folders = [RunFolder(tmp_path / place / "run") for place in ("a", "b", "c")]
    for folder in folders[:2]:
        folder.create({}, TASK, store)
    folders[2].create({}, TASK)
    assert [folder.graph() for folder in folders] == [
        (store, "run"),
        (store, "run-2"),
        (tmp_path / "c" / "run", "graph"),
    ]
    moved = folders[0].path.rename(tmp_path / "moved")
    assert RunFolder(moved).graph() == (store, "run")
    with closing(SqliteStore(*folders[0].graph()[:1], name="run")), closing(SqliteStore(store, name="run-2")):
        pass


def test_a_store_that_is_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("mine")
    with pytest.raises(UserError, match=r"run\.store=.*: File exists"):
        RunFolder(tmp_path / "run").create({}, TASK, tmp_path / "store")
    assert not (tmp_path / "run").exists()
    for store in (tmp_path / "store", tmp_path / "store" / "deep"):
        with pytest.raises(UserError, match=r"run\.store=.*store is a file"):
            check_possible("run.store", store)
    check_possible("run.store", tmp_path / "new" / "deep")


def test_another_format_is_refused_and_named(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.create({}, TASK)
    head = json.loads(folder.task_file.read_text())
    folder.task_file.write_text(json.dumps({**head, "format": 99, "kernelevolve": "7.0"}))
    with pytest.raises(UserError, match=r"kernelevolve 7\.0 in format 99"):
        folder.load()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", f'{{"format": {FORMAT}}}', f'{{"format": {FORMAT}, "task": {{"name": ""}}}}']
)
def test_damage_is_one_line(tmp_path: Path, text: str) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.create({}, TASK)
    folder.task_file.write_text(text)
    with pytest.raises(UserError, match="damaged") as error:
        folder.load()
    assert "\n" not in str(error.value)


def test_default_folders_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    now = datetime(2026, 1, 2, 3, 4, 5)
    first = default_folder("suite/thing", now)
    first.mkdir(parents=True)
    assert first == Path("runs/suite-thing-20260102-030405")
    assert default_folder("suite/thing", now) != first


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "\udcff")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
