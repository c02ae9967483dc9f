"""The sources of tasks: what is shipped, and files."""

from __future__ import annotations

from pathlib import Path

from kernelevolve.tasks.files import TaskFiles
from kernelevolve.tasks.shipped import ShippedTasks
from kernelevolve.tasks.source import TaskSource
from tests.conformance.task_source import TaskSourceConformance
from tests.small_task import SOURCE


class TestShipped(TaskSourceConformance):
    def source(self) -> TaskSource:
        return ShippedTasks()

    def name(self, folder: Path) -> str:
        del folder
        return "dlrm/map_id"


class TestFiles(TaskSourceConformance):
    def source(self) -> TaskSource:
        return TaskFiles(ShippedTasks())

    def name(self, folder: Path) -> str:
        file = folder / "mine.py"
        file.write_text(SOURCE)
        return str(file)
