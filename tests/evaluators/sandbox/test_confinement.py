"""What a candidate may not reach: files, servers, other processes. What it needs, it has."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from devices.cpu import CpuDevice
from evaluators.sandbox import landlock
from evaluators.service.pipeline import Pipeline
from evaluators.settings import EvaluationSettings
from kernelevolve.core.errors import UserError
from kernelevolve.core.evaluation import Status
from tests.evaluators.silu_mul import TASK, python_kernel

pytestmark = [pytest.mark.skipif(landlock.version() == 0, reason="this Linux has no Landlock"), pytest.mark.alone]

RIGHT = "return torch.nn.functional.silu(x) * y * self.scale"


def refused(pipeline: Pipeline, body: str) -> None:
    verdict = pipeline.evaluate(python_kernel(f"{body}\n        {RIGHT}", "import os, socket, ctypes"))
    assert verdict.status is Status.RUNTIME_ERROR, verdict.diagnosis
    assert verdict.diagnosis is not None
    assert "PermissionError" in verdict.diagnosis.summary


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text("42")
    return path


def test_files_of_others_can_neither_be_read_nor_written(pipeline: Pipeline, secret: Path) -> None:
    refused(pipeline, f"open({str(secret)!r}).read()")
    refused(pipeline, f"open({str(secret)!r}, 'a').write('x')")
    refused(pipeline, f"os.remove({str(secret)!r})")
    refused(pipeline, f"os.listdir({str(Path.home())!r})")
    refused(pipeline, f"open('/tmp/kernelevolve-test-{os.getpid()}', 'w')")
    assert secret.read_text() == "42"


def test_the_right_answers_cannot_be_read(pipeline: Pipeline) -> None:
    folder = pipeline.strict.reference().folder
    refused(pipeline, f"open({str(next(folder.iterdir()))!r}, 'rb').read()")
    refused(pipeline, f"os.listdir({str(folder)!r})")
    refused(pipeline, f"open({str(folder / 'new')!r}, 'ab')")


@pytest.mark.skipif(landlock.version() < 4, reason="this Landlock does not know TCP")
def test_no_server_can_be_reached(pipeline: Pipeline) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        refused(pipeline, f"socket.create_connection(('127.0.0.1', {server.getsockname()[1]}))")


def test_the_memory_of_the_judge_is_closed(pipeline: Pipeline) -> None:
    refused(pipeline, "open(f'/proc/{os.getppid()}/mem', 'rb').read(1)")
    refused(pipeline, "open(f'/proc/{os.getppid()}/environ', 'rb').read(1)")


@pytest.mark.skipif(landlock.version() < 6, reason="this Landlock does not know signals")
def test_no_other_process_can_be_signalled(pipeline: Pipeline) -> None:
    refused(pipeline, "os.kill(os.getppid(), 0)")


def test_its_own_folder_and_python_are_open(pipeline: Pipeline) -> None:
    body = "open('mine', 'w').write('x'); open('mine').read(); import xml.dom.minidom, torch.fft"
    verdict = pipeline.evaluate(python_kernel(f"{body}\n        {RIGHT}", "import os"))
    assert verdict.status is Status.OK, verdict.diagnosis
    assert "Landlock" in verdict.environment["isolation"]


@pytest.fixture
def open_pipeline(settings: EvaluationSettings) -> Iterator[Pipeline]:
    with closing(Pipeline(TASK, CpuDevice(), settings.model_copy(update={"sandbox": False}))) as made:
        yield made


def test_without_the_sandbox_files_are_open_and_the_record_says_so(open_pipeline: Pipeline, secret: Path) -> None:
    body = f"assert open({str(secret)!r}).read() == '42'"
    verdict = open_pipeline.evaluate(python_kernel(f"{body}\n        {RIGHT}", "import os"))
    assert verdict.status is Status.OK, verdict.diagnosis
    assert verdict.environment["isolation"] == "limits"


def test_paths_that_the_task_reads_are_opened_by_name(settings: EvaluationSettings, secret: Path) -> None:
    more = settings.model_copy(update={"readable": (str(secret),)})
    body = f"assert open({str(secret)!r}).read() == '42'"
    with closing(Pipeline(TASK, CpuDevice(), more)) as made:
        verdict = made.evaluate(python_kernel(f"{body}\n        {RIGHT}", "import os"))
    assert verdict.status is Status.OK, verdict.diagnosis


def test_a_machine_without_landlock_judges_only_when_told_to(
    settings: EvaluationSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landlock, "version", lambda: 0)
    with pytest.raises(UserError, match="sandbox=off"):
        Pipeline(TASK, CpuDevice(), settings)
