"""Results are compared where they lie: the judge's own memory does not grow with them."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import torch

from devices.cpu import CpuDevice
from evaluators.correctness.bounds import Bounds
from evaluators.correctness.compare import compare
from evaluators.runtime.base import Runtime
from evaluators.runtime.cpu.process_memory import ProcessElements, UnreadableError
from evaluators.runtime.tensors import TensorDescription
from evaluators.service.pipeline import Pipeline
from evaluators.settings import EvaluationSettings
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.task import Task

COUNT = 128 << 20
"""float32 elements: 512 MiB."""
BOUNDS = Bounds(atol=1e-4, rtol=1e-4, rms=1e-5, native_rms=0.0, scale=1.0)
HOLDER = f"""
import mmap, sys
memory = mmap.mmap(-1, {4 * COUNT})
for start in range(0, {4 * COUNT}, 1 << 24):
    memory[start : start + (1 << 24)] = b"\\0\\0\\x80\\x3f" * (1 << 22)  # Ones.
import ctypes
print(ctypes.addressof(ctypes.c_char.from_buffer(memory)), flush=True)
place = int(sys.stdin.readline())
memory[4 * place : 4 * place + 4] = b"\\0\\0\\0\\x40"
print("changed", flush=True)
sys.stdin.readline()
"""


class Growth:
    """Most private memory that this process took since it was made, in bytes."""

    def __init__(self) -> None:
        self._before = self._now()
        self.most = 0

    def look(self) -> None:
        self.most = max(self.most, self._now() - self._before)

    @staticmethod
    def _now() -> int:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) << 10
        raise OSError("no RssAnon")


@contextmanager
def watched() -> Iterator[Growth]:
    growth, over = Growth(), threading.Event()

    def watch() -> None:
        while not over.wait(0.002):
            growth.look()

    thread = threading.Thread(target=watch)
    thread.start()
    yield growth
    over.set()
    thread.join()


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As judges have."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def holder() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    yield process
    process.kill()
    process.communicate()


def test_half_a_gigabyte_is_compared_in_little_memory(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    assert holder.stdout is not None
    address = int(holder.stdout.readline())
    told = TensorDescription(dtype="float32", shape=(COUNT // 1024, 1024), stride=(1024, 1))
    file = tmp_path / "native"
    with file.open("wb") as handle:
        for _ in range(COUNT >> 22):
            handle.write(b"\0\0\x80\x3f" * (1 << 22))
    native = torch.from_file(str(file), shared=False, size=COUNT, dtype=torch.float32).view(told.shape)
    with watched() as growth:
        assert compare(ProcessElements(holder.pid, told, address), native, native, BOUNDS, "x") is None
    file.unlink()
    assert growth.most < 16 << 20


def test_a_wrong_element_is_found_far_behind_and_an_excerpt_is_enough(holder: subprocess.Popen[str]) -> None:
    assert holder.stdin is not None
    assert holder.stdout is not None
    address = int(holder.stdout.readline())
    rows = 12 << 10
    told = TensorDescription(dtype="float32", shape=(rows, 1024), stride=(1024, 1))
    holder.stdin.write(f"{1024 * rows - 7}\n")
    holder.stdin.flush()
    holder.stdout.readline()
    native = torch.ones(told.shape)
    with watched() as growth:
        wrong = compare(ProcessElements(holder.pid, told, address), native, native, BOUNDS, "x")
    assert wrong is not None
    assert wrong.summary.endswith(f"at [{rows - 1}, 1017]: expected 1.0, got 2.0")
    assert wrong.summary.startswith(f"x: 1 of {1024 * rows} elements")
    assert "nothing is far off" in wrong.details
    assert growth.most < 64 << 20


def test_memory_that_is_not_there_is_no_result(holder: subprocess.Popen[str]) -> None:
    assert holder.stdout is not None
    address = int(holder.stdout.readline())
    found = ProcessElements(
        holder.pid, TensorDescription(dtype="float32", shape=(COUNT + (1 << 30),), stride=(1,)), address
    )
    with pytest.raises(UnreadableError):
        found.part(COUNT + (1 << 29), COUNT + (1 << 29) + 10)


TASK = Task(
    name="large",
    source="""import torch


class Model(torch.nn.Module):
    def forward(self, x):
        return x + 1


def get_inputs():
    return [torch.randn(8 << 20)]
""",
)


def test_a_kernel_with_large_outputs_is_proven_correct_in_little_memory(
    settings: EvaluationSettings, runtime: Runtime
) -> None:
    """Neither outputs nor inputs pass through the judge's own memory as a whole."""
    few = settings.inputs.model_copy(update={"shapes": 0, "values": 0, "nonfinite": False})
    small = settings.model_copy(update={"trials": 1, "inputs": few, "run_timeout": 20.0})
    kernel = Kernel(source=TASK.source.replace("Model", "ModelNew"), language="python")
    with closing(Pipeline(TASK, CpuDevice(), small, runtime=runtime)) as made:
        made.warm()
        made.strict.checker().bounds(made.strict.reference().main.expected)
        with watched() as growth, made.strict.checked_kernel(kernel, made.compile(kernel), 1):
            pass
    assert growth.most < 24 << 20  # One output has 32 MiB.
