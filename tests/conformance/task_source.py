"""What every task source must do; a test module derives from `TaskSourceConformance`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

import pytest

from kernelevolve.tasks.source import TaskSource


class TaskSourceConformance(ABC):
    @abstractmethod
    def source(self) -> TaskSource: ...

    @abstractmethod
    def name(self, folder: Path) -> str:
        """A name that the source finds a task by. `folder` may be written to."""

    def test_a_task_that_is_listed_is_found(self) -> None:
        listed = self.source().list()
        assert [each.name for each in listed] == sorted({each.name for each in listed})
        for each in listed[:5]:
            assert "\n" not in each.summary
            task = self.source().find(each.name)
            assert task is not None
            assert task.name == each.name

    def test_a_name_gives_the_same_task_each_time(self, tmp_path: Path) -> None:
        name = self.name(tmp_path)
        first, again = self.source().find(name), self.source().find(name)
        assert first is not None
        assert first == again
        assert "class Model" in first.source

    @pytest.mark.parametrize("name", ["", "no/such/task", "nothing", "\0"])
    def test_other_names_are_nobodys(self, name: str) -> None:
        assert self.source().find(name) is None
        assert self.source().guess(name) is None
        assert "\n" not in self.source().hint(name)
