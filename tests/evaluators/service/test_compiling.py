"""Artifacts that travel: built in one folder, used from another."""

from __future__ import annotations

from pathlib import Path

import pytest

from devices.registry import get_device
from devices.toolchains.loader import LOADER
from evaluators.service.compiling import Compiled, OtherTarget, Rejected, compile_apart, fingerprint
from kernelevolve.core.evaluation import Status
from kernelevolve.core.kernel import Kernel

KERNEL = Kernel(
    language="cpp",
    source=f"""{LOADER}
CPP_FLAGS = ["-O1"]
CPP_SOURCE = r'''extern "C" int seven() {{ return 7; }}'''


class ModelNew:
    pass
""",
)
CPU = get_device("cpu")
HERE = {name: fingerprint(CPU, name) for name in CPU.toolchains()}


def made(kernel: Kernel, base: Path, timeout: float = 60.0) -> Compiled | Rejected | OtherTarget:
    return compile_apart(kernel.model_dump_json(), "cpu", timeout, HERE, str(base))


def test_an_artifact_is_used_from_another_folder(tmp_path: Path) -> None:
    built, used = tmp_path / "built", tmp_path / "used"
    built.mkdir()
    used.mkdir()
    compiled = made(KERNEL, built)
    assert isinstance(compiled, Compiled)
    assert not list(built.iterdir())
    artifact = compiled.unpack(used)
    assert [path.name for path in used.iterdir()] == list(artifact.files)
    assert str(used) in artifact.environment.values()
    assert str(built) not in str(artifact.environment)
    assert compiled.unpack(used) == artifact


def test_a_machine_of_another_kind_does_not_compile(tmp_path: Path) -> None:
    wanted = {**HERE, "cpp": "g++ of another machine"}
    found = compile_apart(KERNEL.model_dump_json(), "cpu", 60.0, wanted, str(tmp_path))
    assert isinstance(found, OtherTarget)


@pytest.mark.parametrize(
    ("change", "timeout", "status"),
    [
        (("return 7", "return seven"), 60.0, Status.COMPILE_ERROR),
        (("ModelNew", "Other"), 60.0, Status.INVALID_SOURCE),
        (("CPP_FLAGS", "CPP_SAILS"), 60.0, Status.COMPILE_ERROR),
        (("return 7", "return 8"), 0.001, Status.TIMEOUT),
    ],
)
def test_what_does_not_compile_has_a_verdict(
    tmp_path: Path, change: tuple[str, str], timeout: float, status: Status
) -> None:
    kernel = KERNEL.model_copy(update={"source": KERNEL.source.replace(*change)})
    found = made(kernel, tmp_path, timeout)
    assert isinstance(found, Rejected)
    assert found.failure.status is status
    assert not list(tmp_path.iterdir())
