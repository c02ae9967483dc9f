from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import kernelevolve
from kernelevolve.core.errors import UserError
from kernelevolve.core.task import AllowAten
from kernelevolve.tasks.catalog import find_task, list_tasks
from kernelevolve.tasks.form import check_source, summary_of
from kernelevolve.tasks.shipped import SUITES

MINIMAL = '"""Nothing much."""\nclass Model: ...\ndef get_inputs(): return []\n'


def test_listing_names_every_file_with_a_summary() -> None:
    listed = list_tasks()
    assert len(listed) >= 12
    assert [task.name for task in listed] == sorted(f"{path.parent.name}/{path.stem}" for path in SUITES.glob("*/*.py"))
    assert all(task.summary.endswith(".") and len(task.summary) < 100 for task in listed)


def test_listing_does_not_import_torch() -> None:
    use = "import sys, kernelevolve.tasks.catalog as catalog; catalog.list_tasks(); catalog.find_task('map_id')"
    code = f"{use}; print('torch' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(Path(kernelevolve.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("name", ["dlrm/map_id", "map_id", "p_id", str(SUITES / "dlrm" / "map_id.py")])
def test_a_name_a_suffix_and_a_path_find_the_same_source(name: str) -> None:
    task = find_task(name)
    assert task.source == (SUITES / "dlrm" / "map_id.py").read_text(encoding="utf-8")
    assert task.name == ("map_id" if name.endswith(".py") else "dlrm/map_id")


def test_a_file_anywhere_is_a_task(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_bytes(b"\xef\xbb\xbf" + MINIMAL.encode())
    assert find_task(str(path)).source == MINIMAL
    assert find_task(str(path)).name == "mine"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dlrm/mapid", r"no task 'dlrm/mapid'; did you mean dlrm/map_id\? `kernelevolve tasks list` shows all"),
        ("nothing.py", r"no task file nothing\.py$"),
        ("masked_sotfmax", "did you mean dlrm/masked_softmax"),
        ("interaction", "fits dlrm/dot_interaction, dlrm/fm_interaction"),
        ("dlrm", "is a suite: name one of its tasks, such as dlrm/attention_pooling"),
        ("qqqqqqqq", "no task 'qqqqqqqq'; `kernelevolve tasks list`"),
        ("", "no task ''"),
        ("/nowhere/map_id.py", "no task file /nowhere/map_id.py; did you mean dlrm/map_id"),
    ],
)
def test_an_unknown_name_gets_a_hint(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        find_task(name)


def test_a_misspelt_file_names_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "softmax.py").write_text(MINIMAL)
    with pytest.raises(UserError, match=r"did you mean .*softmax\.py"):
        find_task(str(tmp_path / "sofmax.py"))
    with pytest.raises(UserError, match="is a directory"):
        find_task(str(tmp_path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"# \xff\xfe\n", "not UTF-8"),
        (b"x = 1\ndef f(:\n", "line 2: syntax error"),
        (b"x = 1\0\n", "null bytes"),
        (b"", "no class Model"),
        (b"class ModelNew: ...\n", "a kernel, not a task"),
        (b"class Model: ...\n", "no function get_inputs"),
        (b"class Model: ...\nclass A:\n    def get_inputs(self): ...\n", "no function get_inputs"),
        (b"class Model: ...\nasync def get_inputs(): ...\n", "no function get_inputs"),
    ],
)
def test_a_file_that_is_no_task_gets_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.py"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        find_task(str(path))
    assert "\n" not in str(caught.value)
    assert "bad.py" in str(caught.value)


@pytest.mark.parametrize(
    "source",
    [
        "from a import Model, get_inputs\n",
        "from a import *\n",
        "try:\n    from a import Model\nexcept ImportError:\n    class Model: ...\nget_inputs = lambda: []\n",
        "if True:\n    class Model: ...\nwith x:\n    def get_inputs(): ...\n",
        "Model, get_inputs = make()\n",
    ],
)
def test_any_binding_at_module_level_counts(source: str) -> None:
    check_source(source, "x")


@given(st.text(max_size=200))
def test_arbitrary_text_is_accepted_or_refused_in_one_line(text: str) -> None:
    try:
        check_source(text, "x.py")
    except UserError as error:
        assert str(error).startswith("x.py")  # noqa: PT017
        assert len(str(error).splitlines()) == 1  # noqa: PT017


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters='\\"\r\0'), min_size=1, max_size=80))
def test_the_summary_is_one_line(text: str) -> None:
    assert len(summary_of(f'"""{text}"""').splitlines()) <= 1


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ('ALLOW_ATEN = "none"', AllowAten.NONE),
        ("ALLOW_ATEN: str = 'helpers'", AllowAten.HELPERS),
        ('ALLOW_ATEN = "none"\nALLOW_ATEN = "all"', AllowAten.ALL),
        ('if False: ALLOW_ATEN = "none"', AllowAten.ALL),
        ("", AllowAten.ALL),
    ],
)
def test_a_file_declares_how_much_of_pytorch_a_kernel_may_call(tmp_path: Path, line: str, rule: AllowAten) -> None:
    path = tmp_path / "mine.py"
    path.write_text(f"{MINIMAL}{line}\n")
    assert find_task(str(path)).allow_aten is rule


@pytest.mark.parametrize("value", ['"never"', "None", "3", "['none']", "'no' + 'ne'"])
def test_a_rule_that_is_none_is_refused_with_its_line(tmp_path: Path, value: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(f"{MINIMAL}ALLOW_ATEN = {value}\n")
    with pytest.raises(
        UserError, match=r"mine\.py, line 4: ALLOW_ATEN = .* is not a rule: write one of \"none\", \"helpers\""
    ) as caught:
        find_task(str(path))
    assert "\n" not in str(caught.value)
