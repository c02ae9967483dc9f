"""KernelBench's problems as tasks: names, folders, and the data set. No file of KernelBench is here: tests lay out their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kernelevolve.core.errors import UserError
from kernelevolve.tasks.catalog import find_task, full_name, list_groups, members_of
from kernelevolve.tasks.kernelbench import problems
from kernelevolve.tasks.kernelbench.source import KernelBench
from kernelevolve.tasks.source import TaskSource
from tests.conformance.task_source import TaskSourceConformance
from tests.small_task import SOURCE

ROOT = Path(__file__).parents[2]
FILES = (
    "level1/2_Standard_matrix_multiplication_",
    "level1/10_ReLU",
    "level1/36_RMSNorm_",
    "level2/1_Conv2D_ReLU_BiasAdd",
)


def layout(folder: Path) -> Path:
    """A folder laid out as a clone of KernelBench."""
    for name in FILES:
        path = folder / "KernelBench" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        docstring = f'    """Problem {path.stem}."""\n'
        path.write_text(
            SOURCE.replace("class Model(torch.nn.Module):\n", f"class Model(torch.nn.Module):\n{docstring}")
        )
    (folder / "KernelBench" / "level1" / "notes.py").write_text("no problem")
    return folder


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = layout(tmp_path / "clone")
    monkeypatch.setenv("KERNELBENCH_DIR", str(folder))
    return folder


class TestConformance(TaskSourceConformance):
    def source(self) -> TaskSource:
        return KernelBench()

    def name(self, folder: Path) -> str:
        return f"kernelbench:{layout(folder)}/level1/36"


@pytest.mark.parametrize("problem", ["36", "36_RMSNorm_", "36_RMSNorm_.py"])
@pytest.mark.parametrize("inner", ["", "/KernelBench"])
def test_a_number_and_a_name_find_the_file(clone: Path, problem: str, inner: str) -> None:
    task = find_task(f"kernelbench:level1/{problem}")
    assert task.name == "kernelbench:level1/36_RMSNorm_"
    assert "Problem 36_RMSNorm_." in task.source
    named = find_task(f"kernelbench:{clone}{inner}/level1/{problem}")
    assert named.source == task.source
    assert find_task(named.name) == named, "the name says where the problem is"


def test_groups_are_listed_by_number(clone: Path) -> None:
    assert [(g.name, g.summary) for g in list_groups() if g.name.startswith("kernelbench")] == [
        ("kernelbench:level1", "3 problems of KernelBench."),
        ("kernelbench:level2", "1 problems of KernelBench."),
    ]
    expected = [f"kernelbench:{name}" for name in FILES]
    assert [member.name for member in members_of("kernelbench:level1") or ()] == expected[:3]
    assert [member.name for member in members_of("kernelbench:") or ()] == expected
    elsewhere = members_of(f"kernelbench:{clone}") or ()
    assert [member.name for member in elsewhere] == [f"kernelbench:{clone}/{name}" for name in FILES]
    assert elsewhere[0].summary == "Problem 2_Standard_matrix_multiplication_."
    assert full_name("kernelbench:level2/1") == expected[3]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("kernelbench:level7/1", r"clone has no level7: it has level1, level2$"),
        ("kernelbench:level1/136", r"has no problem 136: it has 3, with numbers from 2 to 36$"),
        ("kernelbench:level1/RMSNorm", "has no problem RMSNorm: did you mean 36_RMSNorm_"),
        ("kernelbench:level1", "is a group: name one of its tasks, such as kernelbench:level1/2_Standard"),
        ("kernelbench:levle1/36", "no task 'kernelbench:levle1/36': write kernelbench:level1/36, or"),
        ("kernelbench:/no/clone/level1/36", "there is no folder /no/clone; write kernelbench:level1/36, or"),
        ("kernelbench:level1/11", r"11_broken\.py defines no class Model"),
    ],
)
def test_a_name_that_is_no_task_gets_a_remedy(clone: Path, name: str, message: str) -> None:
    (clone / "KernelBench" / "level1" / "11_broken.py").write_text("x = 1\n") if "11" in name else None
    with pytest.raises(UserError, match=message) as caught:
        find_task(name)
    assert "\n" not in str(caught.value)


def test_a_folder_without_levels_and_no_folder_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERNELBENCH_DIR", str(tmp_path))
    with pytest.raises(UserError, match=r"KERNELBENCH_DIR: .* has no level of KernelBench .*: name a clone of https"):
        find_task("kernelbench:level1/1")
    assert "has no level" in next(g.summary for g in list_groups() if g.name.startswith("kernelbench"))
    monkeypatch.delenv("KERNELBENCH_DIR")
    monkeypatch.setattr("kernelevolve.tasks.kernelbench.source.data_set_readable", lambda: False)
    with pytest.raises(UserError, match=r"set KERNELBENCH_DIR to a clone of https.*pip install 'kernelevolve\[kernel"):
        find_task("kernelbench:level1/1")


STAND_IN = '''"""A stand-in of the library `datasets`, which has the rows that KernelBench's data set documents."""

import json
import pathlib

ROWS = json.loads(pathlib.Path(__file__).with_suffix(".json").read_text())


def get_dataset_split_names(name):
    return list(ROWS)


def load_dataset(name, split):
    if name != "ScalingIntelligence/KernelBench":
        raise FileNotFoundError(f"no data set {name}")
    return ROWS[split]
'''


@pytest.fixture
def forget() -> Callable[[], None]:
    def clear() -> None:
        problems._rows.cache_clear()
        problems._split_levels.cache_clear()
        sys.modules.pop("datasets", None)

    return clear


def test_the_data_set_serves_where_no_clone_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forget: Callable[[], None]
) -> None:
    rows = {"level_1": [{"code": SOURCE, "level": 1, "name": "19_ReLU", "problem_id": 19}], "level_2": []}
    (tmp_path / "datasets.py").write_text(STAND_IN)
    (tmp_path / "datasets.json").write_text(json.dumps(rows))
    monkeypatch.delenv("KERNELBENCH_DIR", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    forget()
    try:
        task = find_task("kernelbench:level1/19")
        assert (task.name, task.source) == ("kernelbench:level1/19_ReLU", SOURCE)
        with pytest.raises(
            UserError, match="the data set ScalingIntelligence/KernelBench has no level3: it has level1, lev"
        ):
            find_task("kernelbench:level3/1")
        monkeypatch.setattr(problems, "DATA_SET", "nothing/here")
        forget()
        with pytest.raises(
            UserError, match=r"nothing/here cannot be read \(no data set nothing/here\): set KERNELBENCH"
        ):
            find_task("kernelbench:level1/19")
    finally:
        forget()


@pytest.mark.usefixtures("clone")
def test_listing_imports_neither_torch_nor_datasets() -> None:
    code = (
        "import sys\nfrom kernelevolve.cli import main\nmain(['tasks', 'list'])\nmain(['tasks', 'list', 'kernelbench:level1'])\n"
        "main(['tasks', 'show', 'kernelbench:level1/36'])\nprint({'torch', 'datasets'} & set(sys.modules))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert lines[-1] == "set()"
    assert any(line.startswith("kernelbench:level2 ") for line in lines)
    assert any(line.startswith("kernelbench:level1/36_RMSNorm_ ") and "Problem 36" in line for line in lines)
