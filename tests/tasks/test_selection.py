"""Words that name many tasks."""

from __future__ import annotations

from pathlib import Path

import pytest

from kernelevolve.core.errors import UserError
from kernelevolve.tasks.selection import select_tasks
from tests.small_task import SOURCE
from tests.tasks.test_kernelbench import layout


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with two task files, one that is none, a folder of tasks and a clone of KernelBench."""
    for name in ("one.py", "two.py", "ops/gelu.py", "ops/norm.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(SOURCE)
    (tmp_path / "ops" / "broken.py").write_text("x = 1\n")
    monkeypatch.setenv("KERNELBENCH_DIR", str(layout(tmp_path / "clone")))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("map_id", ["dlrm/map_id"]),
        ("one.py, dlrm/pffn,./one.py", ["one.py", "dlrm/pffn", "./one.py"]),
        ("dlrm/*norm*", ["dlrm/layernorm_gating", "dlrm/rmsnorm_residual_silu", "dlrm/swish_layernorm"]),
        ("ops", ["ops/broken.py", "ops/gelu.py", "ops/norm.py"]),
        ("ops/[gn]*.py,ops/gelu.py", ["ops/gelu.py", "ops/norm.py"]),
        ("t*.py", ["./two.py"]),
        ("*/map_i?", ["dlrm/map_id"]),
        ("kernelbench:level1/10", ["kernelbench:level1/10_ReLU"]),
        ("kernelbench:level[12]/1*", ["kernelbench:level1/10_ReLU", "kernelbench:level2/1_Conv2D_ReLU_BiasAdd"]),
        ("clone/KernelBench/level2", ["clone/KernelBench/level2/1_Conv2D_ReLU_BiasAdd.py"]),
    ],
)
def test_words_select_tasks_in_their_order(here: Path, text: str, names: list[str]) -> None:
    del here
    assert list(select_tasks(text)) == names


def test_a_file_of_names(here: Path) -> None:
    (here / "names.txt").write_text(
        "# the first ones\n\nkernelbench:level2\n  one.py  \ndlrm/*norm*\nkernelbench:level2/1\n"
    )
    names = select_tasks("@names.txt")
    assert names[:2] == ("kernelbench:level2/1_Conv2D_ReLU_BiasAdd", "one.py")
    assert len(names) == 5, "a task that is named twice is one task"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "which tasks"),
        (" , ", "which tasks"),
        ("dlrm/map_idd", "did you mean dlrm/map_id"),
        ("dlrm/*nothing*", r"no task fits 'dlrm/\*nothing\*'; `kernelevolve tasks list dlrm/` shows"),
        ("nowhere/*", r"no task fits 'nowhere/\*'; `kernelevolve tasks list` shows"),
        ("@nowhere.txt", r"@nowhere\.txt: the file of names cannot be read \(No such file"),
        ("@loop.txt", "@loop.txt: a file of names cannot name another one"),
        ("empty", "'empty' holds no tasks"),
        ("kernelbench:level1/99", "has no problem 99"),
        ("ops/broken.py", "defines no class Model"),
    ],
)
def test_a_word_that_selects_nothing_is_a_mistake(here: Path, text: str, message: str) -> None:
    (here / "empty").mkdir()
    (here / "loop.txt").write_text("@loop.txt\n")
    with pytest.raises(UserError, match=message) as caught:
        select_tasks(text)
    assert "\n" not in str(caught.value)
