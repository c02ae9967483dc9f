"""What a wheel holds: everything that a checkout has and a run needs."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.packages import PACKAGES, ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("source")
    skipped = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in (*PACKAGES, "conf"):
        shutil.copytree(ROOT / name, source / name, ignore=skipped)
    for name in ("pyproject.toml", "setup.py", "LICENSE", "README.md"):
        shutil.copy(ROOT / name, source)
    build = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, "out"], cwd=source, check=True, capture_output=True, timeout=100)
    (path,) = (source / "out").glob("*.whl")
    return path


def test_the_wheel_holds_every_module_and_every_default(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    kinds = ("*.py", "*.md", "*.j2", "*.txt", "*.npz")
    modules = {str(p.relative_to(ROOT)) for name in PACKAGES for kind in kinds for p in (ROOT / name).rglob(kind)}
    defaults = {f"kernelevolve/conf/{p.relative_to(ROOT / 'conf')}" for p in (ROOT / "conf").rglob("*.yaml")}
    assert modules
    assert defaults
    assert modules | defaults <= held


def test_an_installed_package_finds_its_defaults_and_tasks(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    (tmp_path / "elsewhere").mkdir()
    begin = "import sys; sys.path.insert(0, sys.argv.pop(1)); from kernelevolve.cli import main; sys.exit(main())"
    for words, said in ((["run", "--cfg", "job"], "budget:"), (["tasks", "list"], "dlrm/")):
        done = subprocess.run(
            [sys.executable, "-c", begin, str(tmp_path / "site"), *words],
            cwd=tmp_path / "elsewhere",
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert said in done.stdout
