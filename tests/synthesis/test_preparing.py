"""An operator is prepared in a process of its own, which leaves nothing behind."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from kernelevolve.core.errors import UserError
from kernelevolve.core.graph import Draft, Expansion
from kernelevolve.core.task import Task
from kernelevolve.synthesis.base import Context, Operator
from kernelevolve.synthesis.preparing import Preparing

TASK = Task(name="task", source="x = 1\n")


@dataclass(frozen=True)
class Prepared(Operator):
    """Does to the task what its source says."""

    pid: int = 0

    def prepare(self, task: Task) -> Prepared:
        os.write(1, b"said on the way")
        exec(task.source, {})
        return Prepared(os.getpid())

    def provisional(self, task: Task) -> Prepared | None:
        return Prepared(-os.getpid()) if "early" in task.source else None

    async def propose(self, expansion: Expansion, context: Context) -> Draft:
        raise NotImplementedError


class Plain(Operator):
    async def propose(self, expansion: Expansion, context: Context) -> Draft:
        raise NotImplementedError


def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def of(source: str) -> Preparing:
    return Preparing(Prepared(), Task(name="task", source=source))


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other process imports this file as the test runner named it."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))


def test_what_was_prepared_elsewhere_comes_back() -> None:
    with of("import os\nos.write(1, b'noise')") as preparing:
        found = preparing.result(lambda: None)
    assert isinstance(found, Prepared)
    assert found.pid not in (0, os.getpid())
    assert gone(found.pid)


def test_an_operator_that_prepares_nothing_costs_no_process() -> None:
    plain = Plain()
    with Preparing(plain, TASK) as preparing:
        assert preparing._process is None
        assert preparing.result(lambda: None) is plain


def test_a_task_at_fault_is_the_users_mistake() -> None:
    source = "from kernelevolve.core.errors import UserError\nraise UserError('simplify the reference')"
    with of(source) as preparing, pytest.raises(UserError, match="simplify the reference"):
        preparing.result(lambda: None)


def test_a_mistake_is_told_as_soon_as_it_is_known_and_nothing_is_waited_for() -> None:
    fault = "from kernelevolve.core.errors import UserError\nraise UserError('simplify the reference')"
    with of(fault) as preparing:
        assert preparing._process is not None
        preparing._process.wait(30)
        with pytest.raises(UserError, match="simplify the reference"):
            preparing.raise_early()
    with of("while True: pass") as preparing:
        preparing.raise_early()
    with of("pass") as preparing:
        first = preparing.result(lambda: None)
        preparing.raise_early()
        assert preparing.result(lambda: None) is first


@pytest.mark.parametrize(
    ("source", "said"), [("1 / 0", "ZeroDivisionError"), ("import os; os._exit(3)", "exit code 3")]
)
def test_a_failure_says_what_it_was(source: str, said: str) -> None:
    with of(source) as preparing, pytest.raises(RuntimeError, match=said):
        preparing.result(lambda: None)


def test_where_it_takes_long_what_there_is_early_comes_and_it_goes_on(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    busy = "import time\nbegin = time.process_time()\nwhile time.process_time() < begin + 11: pass  # early\n"
    with of(f"{busy}open({str(mark)!r}, 'w').close()\nwhile True: pass") as preparing:
        found = preparing.result(lambda: None)
        assert isinstance(found, Prepared)
        assert found.pid < 0
        while not mark.exists():
            time.sleep(0.05)
    assert gone(-found.pid)


def test_what_nobody_waits_for_any_more_ends_before_it_is_left() -> None:
    with of("import time\ntime.sleep(60)") as preparing:
        assert preparing._process is not None
        pid = preparing._process.pid
        preparing.end()
        assert gone(pid)


def test_an_interrupt_ends_it() -> None:
    looks = 0

    def check() -> None:
        nonlocal looks
        looks += 1
        if looks > 2:
            raise KeyboardInterrupt

    begin = time.monotonic()
    with of("while True: pass") as preparing:
        assert preparing._process is not None
        pid = preparing._process.pid
        with pytest.raises(KeyboardInterrupt):
            preparing.result(check)
    assert gone(pid)
    assert time.monotonic() - begin < 10


def test_files_in_the_current_folder_take_nobodys_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("copy", "random", "select", "struct", "torch"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('a file of the user')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", str(Path(__file__).parents[2]), ""]))
    with of("import copy, random, select, struct, torch\ntorch.zeros(1)") as preparing:
        assert isinstance(preparing.result(lambda: None), Prepared)
