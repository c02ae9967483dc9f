"""Artifacts that travel: built in one folder, used from another."""

from __future__ import annotations

from pathlib import Path

import pytest

from devices.base import Artifact
from devices.cpu import CpuDevice
from devices.toolchains.loader import LOADER
from evaluators.service.compiling import Compiled, OtherTarget, Rejected, compile_task, fingerprint
from kernelevolve.core.evaluation import Status
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.signature import Signature

KERNEL = Kernel(
    language="cpp",
    source=f"""{LOADER}
CPP_FLAGS = ["-O1"]
CPP_SOURCE = r'''extern "C" int seven() {{ return 7; }}'''


class ModelNew:
    pass
""",
)
CPU = CpuDevice()
TARGET = CPU.target()
HERE = {name: fingerprint(CPU, TARGET, name) for name in CPU.toolchains()}


def made(kernel: Kernel, base: Path, timeout: float = 60.0) -> Compiled | Rejected | OtherTarget:
    return compile_task(kernel, CPU, TARGET, Signature(), timeout, HERE, str(base))


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
    found = compile_task(KERNEL, CPU, TARGET, Signature(), 60.0, wanted, str(tmp_path))
    assert isinstance(found, OtherTarget)


def test_nobody_compiles_for_a_processor_with_other_instructions(tmp_path: Path) -> None:
    other = TARGET.model_copy(update={"facts": {**TARGET.facts, "instructions": "others"}})
    assert fingerprint(CPU, other, "cpp") == ""
    assert isinstance(compile_task(KERNEL, CPU, other, Signature(), 60.0, HERE, str(tmp_path)), OtherTarget)


def test_an_artifact_may_hold_folders(tmp_path: Path) -> None:
    artifact = Artifact(kernel_id="k", files=("cache/a/kernel.bin",))
    compiled = Compiled(artifact, "f", str(tmp_path / "built"), {"cache/a/kernel.bin": b"binary"}, {})
    (tmp_path / "used").mkdir()
    compiled.unpack(tmp_path / "used")
    assert (tmp_path / "used/cache/a/kernel.bin").read_bytes() == b"binary"


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
