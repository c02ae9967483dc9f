"""The process that `isolated` starts: it writes the seed of a task, compiles it and tries it out."""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from devices.base import CompileFailure
from devices.cpu import CpuDevice
from devices.toolchains.cpp import CppToolchain
from kernelevolve.core.errors import UserError
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.signature import Signature
from kernelevolve.core.task import Task
from kernelevolve.synthesis.builtin.aten_seed import aten_kernel
from kernelevolve.synthesis.builtin.fallback import fallback_calls
from kernelevolve.synthesis.builtin.inductor.kernel import inductor_kernel
from kernelevolve.synthesis.builtin.model_class import CANDIDATE
from kernelevolve.synthesis.traced.builder import UnsupportedError
from kernelevolve.tasks.eager import run_eagerly
from kernelevolve.tasks.loading import build_model, draw_inputs, load_module
from kernelevolve.tasks.structure import flatten

_COMPILE_SECONDS = 120.0
_COARSE = 0.02
"""The relative tolerance of the trial."""
_PROCESSOR_SECONDS = 300
"""The processor seconds of this process. The compiler that it starts has the same limit of its own."""
_PR_SET_PDEATHSIG = 1


def main(task_file: Path, result_file: Path, stage: str) -> None:
    """Write the kernel of a task and a remark, or the reason why there is none.

    Args:
        task_file: The task as JSON.
        result_file: Receives the result as JSON.
        stage: `inductor` or `aten`.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    resource.setrlimit(resource.RLIMIT_CPU, (_PROCESSOR_SECONDS, _PROCESSOR_SECONDS + 5))
    run_eagerly()
    task = Task.model_validate_json(task_file.read_text(encoding="utf-8"))
    result: dict[str, str]
    try:
        kernel, remark = inductor_kernel(task) if stage == "inductor" else (_aten_kernel(task), "")
        try_out(task, kernel)
        result = {"kernel": kernel.model_dump_json(), "remark": remark}
    except (UnsupportedError, UserError) as reason:
        result = {"refused": str(reason)}
    except Exception as fault:  # noqa: BLE001 - PyTorch's compilers raise many types; the next stage takes over
        lines = str(fault).strip().splitlines()
        result = {"refused": f"{type(fault).__name__}: {lines[0][:200] if lines else 'no message'}"}
    result_file.write_text(json.dumps(result), encoding="utf-8")


def _aten_kernel(task: Task) -> Kernel:
    loaded = load_module(task)
    return aten_kernel(task, build_model(loaded, task.seed), draw_inputs(loaded, task.seed))


def try_out(task: Task, kernel: Kernel) -> None:
    """Check roughly that a kernel works, so that a search does not start from one that cannot. Evaluation is stricter.

    Raises:
        UnsupportedError: The kernel does not compile, fails, or is clearly wrong on some inputs of the task.
    """
    with tempfile.TemporaryDirectory() as folder:
        if kernel.language == "cpp":
            # Compile for this machine, whatever the target: the kernel runs here once and is discarded.
            here = CpuDevice().target()
            made = CppToolchain().compile(kernel, here, Signature(), Path(folder), _COMPILE_SECONDS)
            if isinstance(made, CompileFailure):
                raise UnsupportedError(f"its C++ does not compile: {made.summary}")
            os.environ.update(made.environment)
        module = ModuleType("inductor_seed")
        sys.modules[module.__name__] = module
        exec(compile(kernel.source, "kernel.py", "exec", dont_inherit=True), module.__dict__)
        _compare(task, module)


def _compare(task: Task, module: ModuleType) -> None:
    loaded = load_module(task)
    for variant in (None, *loaded.get_input_variants()):
        where = "the main inputs" if variant is None else f"the inputs {variant}"
        reference = build_model(loaded, task.seed)
        torch.manual_seed(task.seed)
        candidate = getattr(module, CANDIDATE)(*loaded.get_init_inputs())
        results = []
        for model in (reference, candidate):
            inputs = draw_inputs(loaded, task.seed, variant)
            torch.manual_seed(task.seed)
            try:
                with torch.no_grad():
                    results.append(model(*inputs))
            except Exception as error:
                origin = "the reference" if model is reference else "its code"
                raise UnsupportedError(f"{origin} fails on {where}: {type(error).__name__}: {error}") from error
        if variant is None and fallback_calls(candidate):
            raise UnsupportedError("its code does not take the main inputs")
        if not _alike(*results):
            raise UnsupportedError(f"its result on {where} is not the reference's")


def _alike(want: Any, got: Any) -> bool:
    wanted, structure = flatten(want, by_key=True)
    found, other = flatten(got, by_key=True)
    return structure == other and all(map(_near, wanted, found))


def _near(want: Any, got: Any) -> bool:
    if not isinstance(want, torch.Tensor):
        return type(want) is type(got) and (
            want == got or (isinstance(want, float) and abs(want - got) <= _COARSE * abs(want))
        )
    if not isinstance(got, torch.Tensor) or want.shape != got.shape or want.dtype != got.dtype:
        return False
    if want.is_complex():
        return _near(torch.view_as_real(want.resolve_conj()), torch.view_as_real(got.resolve_conj()))
    if not want.dtype.is_floating_point:
        return bool(torch.equal(want, got))
    want, got = want.double(), got.double()
    finite = want[want.isfinite()]
    scale = float(finite.square().mean().sqrt()) if finite.numel() else 0.0
    return bool(torch.allclose(got, want, rtol=_COARSE, atol=_COARSE * scale, equal_nan=True))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
