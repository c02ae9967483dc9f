"""A device of another package, installed as docs/devices.md shows it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kernelevolve.core.child_process import ROOT
from tests.small_task import SOURCE, kernel

_FILES = re.compile(r"^`(?P<name>[\w.]+)`:\n\n```\w+\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the example of the page is installed."""
    source, site = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    files = {found["name"]: found["text"] for found in _FILES.finditer((ROOT / "docs/devices.md").read_text())}
    assert set(files) == {"pyproject.toml", "kernelevolve_idle.py"}
    for name, text in files.items():
        (source / name).write_text(text)
    options = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", site, source]
    subprocess.run(command, check=True, capture_output=True, timeout=100)
    return site


def call(site: Path, *words: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT), str(site)])
    return subprocess.run(
        [sys.executable, *words],
        env={**os.environ, "PYTHONPATH": path},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
    )


def test_doctor_shows_it_beside_the_others_and_keeps_their_toolchains_apart(site: Path) -> None:
    found = json.loads(call(site, "-m", "kernelevolve", "doctor", "--json").stdout)
    devices = {row["name"]: row for row in found["device"]}
    assert list(devices) == ["cpu", "nvidia", "amd", "idle"]
    assert devices["idle"] == {"name": "idle", "available": True, "detail": "there is always one"}
    assert all(row["detail"] for row in devices.values())
    python = [row["name"] for row in found["toolchain"] if row["name"].endswith("/python")]
    assert python == ["cpu/python", "nvidia/python", "amd/python", "idle/python"]


def test_doctor_survives_a_broken_package(site: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken-1.0.dist-info"
    broken.mkdir()
    (broken / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (broken / "entry_points.txt").write_text("[kernelevolve.devices]\nruined = nowhere:Device\n")
    code = "import sys; sys.path.append(sys.argv.pop()); from kernelevolve.cli import main; main(['doctor', '--json'])"
    done = call(site, "-c", code, str(tmp_path))
    (row,) = (row for row in json.loads(done.stdout)["device"] if row["name"] == "ruined")
    assert not row["available"]
    assert "the device ruined of the package broken cannot be loaded" in row["detail"]


def test_its_kernels_are_evaluated_and_its_settings_have_defaults(site: Path, tmp_path: Path) -> None:
    (tmp_path / "task.py").write_text(SOURCE)
    (tmp_path / "kernel.py").write_text(kernel(factor=3.0))
    words = (
        "evaluate",
        str(tmp_path / "task.py"),
        str(tmp_path / "kernel.py"),
        "--json",
        "device=idle",
        "device.units=4",
    )
    done = call(site, "-m", "kernelevolve", *words)
    assert done.returncode == 0, done.stderr
    evaluation = json.loads(done.stdout)
    assert (evaluation["device"], evaluation["status"]) == ("idle", "wrong_result")
    assert evaluation["environment"]["arch"] == "idle1"
    wrong = call(site, "-m", "kernelevolve", *words[:-1], "device.unit=4")
    assert wrong.returncode == 2
    assert "did you mean device.units" in wrong.stderr


@pytest.mark.slow
def test_a_local_ray_offers_its_resource_and_a_worker_measures_under_its_lock(site: Path, tmp_path: Path) -> None:
    (tmp_path / "task.py").write_text(SOURCE)
    done = call(site, "-c", _SERVICE, str(tmp_path / "task.py"))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {"lock": "idle-0", "device": "idle", "resource": 1.0}


_SERVICE = """
import json, sys
from contextlib import closing

import ray

from evaluators.service.service import EvaluationService
from kernelevolve import config
from kernelevolve.cluster import ray_session
from kernelevolve.remote import ask, machines
from kernelevolve.tasks.catalog import find_task

settings = config.load(["device=idle", "cluster.cpus=2"], task=sys.argv[1])
device = settings.device.build("device")
with ray_session(settings.cluster, device.offered()):
    device = device.placed(machines(), workers=1).device
    with closing(EvaluationService.start(find_task(sys.argv[1]), device, settings.evaluation)) as service:
        facts = ask(service.facts())
        assert ask(service.ceilings()) is None
        resource = ray.cluster_resources()["IDLE"]
print(json.dumps({"lock": facts.lock, "device": facts.target.device, "resource": resource}))
"""
