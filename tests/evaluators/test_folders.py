"""Folders outlive no process that made them, and no user reaches another's."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from evaluators.correctness.reference.store import forget_old
from evaluators.folders import OwnedFolder
from kernelevolve.core.private_folder import machine_folder, private_folder

ROOT = Path(__file__).parents[2]
OWNER = """
import sys, time
from pathlib import Path
from evaluators.folders import OwnedFolder
from evaluators.correctness.reference.store import forget_old
owned = OwnedFolder(Path(sys.argv[1]), "some")
(owned.path / "below").mkdir()
(owned.path / "below" / "file").write_text("data")
print(owned.path, flush=True)
sys.stdin.read()
"""


def test_a_folder_of_another_user_is_left_alone(tmp_path: Path) -> None:
    mine = private_folder(tmp_path, "k")
    assert stat.S_IMODE(mine.stat().st_mode) == 0o700
    assert private_folder(tmp_path, "k") == mine
    mine.rename(tmp_path / "elsewhere")
    (tmp_path / mine.name).symlink_to(tmp_path / "elsewhere")
    second = private_folder(tmp_path, "k")
    assert second.name == f"{mine.name}-1"
    assert private_folder(tmp_path, "k") == second
    second.chmod(0o777)
    assert stat.S_IMODE(private_folder(tmp_path, "k").stat().st_mode) == 0o700
    if os.getuid() == 0:
        os.chown(second, 12345, 12345)
        assert private_folder(tmp_path, "k").name == f"{mine.name}-2"


def old(folder: Path) -> Path:
    """As if it had been made an hour ago."""
    os.utime(folder, (time.time() - 3600, time.time() - 3600))
    return folder


def test_what_a_killed_process_left_goes_with_the_next_and_what_a_living_one_has_stays(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OWNER, str(tmp_path)]
    owners = [
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    folders = []
    for owner in owners:
        assert owner.stdout is not None
        folders.append(old(Path(owner.stdout.readline().strip())))
    other = tmp_path / "some-thing else"
    (tmp_path / "elsewhere").mkdir()
    other.symlink_to(tmp_path / "elsewhere")
    owners[0].kill()
    owners[0].communicate()
    mine = OwnedFolder(tmp_path, "some")
    assert not folders[0].exists()
    assert (folders[1] / "below" / "file").read_text() == "data"
    assert other.is_symlink()
    assert (tmp_path / "elsewhere").is_dir()
    owners[1].communicate("")
    mine.remove()
    mine.remove()
    assert not mine.path.exists()


def test_a_folder_that_was_only_just_made_is_nobodys_prey(tmp_path: Path) -> None:
    fresh = tmp_path / "some-fresh"
    fresh.mkdir()
    OwnedFolder(tmp_path, "some").remove()
    assert fresh.is_dir()
    old(fresh)
    OwnedFolder(tmp_path, "some").remove()
    assert not fresh.exists()


def test_data_of_tasks_is_forgotten_from_the_oldest_on(tmp_path: Path) -> None:
    now = time.time()
    for name, age, size in [
        ("used", 5, 900),
        ("recent", 300, 500),
        ("older", 600, 500),
        ("old", 900, 10),
        ("gone", 9e4, 1),
    ]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_bytes(b"x" * size)
        os.utime(tmp_path / name, (now - age, now - age))
    forget_old(tmp_path, 1500)
    assert {p.name for p in tmp_path.iterdir()} == {"used", "recent"}
    forget_old(tmp_path, 100)
    assert {p.name for p in tmp_path.iterdir()} == {"used"}


def test_every_process_of_a_user_finds_the_same_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = machine_folder()
    for name in ("XDG_RUNTIME_DIR", "TMPDIR"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    assert machine_folder() == here
