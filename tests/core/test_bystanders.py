"""Bystanders: a registered process is found while it lives, and never mistaken for another one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kernelevolve.core.bystanders import Bystander, bystanders, register_bystander, start_of

REGISTER = """
import kernelevolve.core.bystanders as module
from pathlib import Path
import sys
module.machine_folder = lambda: Path(sys.argv[1])
module.register_bystander()
module.register_bystander()
print("registered", flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("kernelevolve.core.bystanders.machine_folder", lambda: tmp_path)
    return tmp_path


def test_a_process_is_a_bystander_until_it_ends(folder: Path) -> None:
    other = subprocess.Popen(
        [sys.executable, "-c", REGISTER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout is not None
    assert other.stdout.readline() == b"registered\n"
    assert [each.pid for each in bystanders()] == [other.pid]
    other.communicate()
    assert bystanders() == []
    assert list((folder / "bystanders").iterdir()) == [], "the record of a dead process is removed"


def test_a_process_is_no_bystander_of_itself(folder: Path) -> None:
    register_bystander()
    assert bystanders() == []
    assert [record.name for record in (folder / "bystanders").iterdir()] == [str(os.getpid())]


def test_another_process_with_the_same_id_is_not_meant(folder: Path) -> None:
    assert Bystander(os.getppid(), start_of(os.getppid()) or "").is_alive
    (folder / "bystanders").mkdir()
    (folder / "bystanders" / str(os.getppid())).write_text("1")
    assert bystanders() == []


def test_what_else_lies_in_the_folder_is_left_alone(folder: Path) -> None:
    (folder / "bystanders").mkdir()
    (folder / "bystanders" / "notes").write_text("x")
    assert bystanders() == []
    assert (folder / "bystanders" / "notes").exists()


def test_a_process_without_room_for_a_record_goes_on(folder: Path) -> None:
    (folder / "bystanders").write_text("in the way")
    register_bystander()
    assert (folder / "bystanders").read_text() == "in the way"
