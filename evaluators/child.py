"""What runs in a child of the fork server: the reference, a candidate, the stopwatch.

The stopwatch's functions are taken before foreign code is loaded. Results leave as raw tensor files and one JSON file.
"""

from __future__ import annotations

import json
import linecache
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from evaluators import tensors
from evaluators.settings import TimingSettings
from evaluators.stages import next_stage
from evaluators.timing import time_many, time_pair
from kernelevolve.core.errors import UserError
from kernelevolve.core.task import Task
from kernelevolve.tasks.loading import LoadedTask, build_model, draw_inputs, load_module

_CLOCK = time.perf_counter_ns
_KERNEL_FILE = "kernel.py"


def run_job(job: Mapping[str, Any]) -> None:
    jobs = {"reference": _reference, "candidate": _candidate, "time": _time, "compare": _compare}
    payload = job["payload"]
    with torch.no_grad():
        result = jobs[job["kind"]](payload, Path(job["folder"]))
    Path(job["folder"], "result.json").write_text(json.dumps(result))


def _input_names(data: Path, case: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((data / f"{case}.inputs.json").read_text())
    return found


def load_inputs(data: Path, case: str) -> list[Any]:
    return [tensors.load(m, data / f"{case}.in{i}") for i, m in enumerate(_input_names(data, case))]


def _save_all(values: list[Any], folder: Path, prefix: str) -> list[dict[str, Any]]:
    return [tensors.save(v, folder / f"{prefix}{i}") for i, v in enumerate(values)]


def _double(model: nn.Module, inputs: list[Any]) -> tuple[nn.Module, list[Any]]:
    wide = [x.double() if isinstance(x, torch.Tensor) and x.is_floating_point() else x for x in inputs]
    return model.double(), wide


def _reference(payload: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Inputs, PyTorch's own results and the float64 oracle of every case, into `folder`."""
    task = Task.model_validate_json(payload["task"])
    try:
        loaded = load_module(task)
        names: list[str | None] = [None, *loaded.get_input_variants()]
        cases: list[dict[str, Any]] = []
        for variant in names:
            for trial in range(payload["trials"] if variant is None else 1):
                cases.append(_reference_case(loaded, variant, trial, folder, len(cases)))
    except UserError as error:
        return {"error": str(error)}
    except (MemoryError, RuntimeError) as error:
        if "allocate" in str(error) or isinstance(error, MemoryError):
            return {"error": f"task {task.name}: it does not fit in memory; make the inputs smaller"}
        raise
    return {"cases": cases}


def _reference_case(loaded: LoadedTask, variant: str | None, trial: int, folder: Path, number: int) -> dict[str, Any]:
    task = loaded.task
    seed = task.seed + 1000 * trial
    case = f"case{number}"
    inputs = draw_inputs(loaded, seed, variant)
    described = _save_all(inputs, folder, f"{case}.in")
    (folder / f"{case}.inputs.json").write_text(json.dumps(described))
    results = []
    for attempt in range(2 if trial == 0 else 1):
        model = build_model(loaded, task.seed)
        # A kernel cannot draw the reference's random numbers: forward must not depend on them.
        torch.manual_seed(seed + 7919 * attempt)
        try:
            results.append(tensors.flatten(model(*load_inputs(folder, case))))
        except TypeError as error:
            raise UserError(f"task {task.name}: forward {error}; it must return tensors") from error
        except (MemoryError, RuntimeError, ValueError, IndexError, AttributeError, KeyError) as error:
            if "allocate" in str(error):
                raise
            line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise UserError(f"task {task.name}: forward raised {type(error).__name__}: {line}") from error
    native, structure = results[0]
    if not native:
        raise UserError(f"task {task.name}: forward returns no tensor")
    for again, _ in results[1:]:
        for a, b in zip(native, again, strict=True):
            if not torch.allclose(a.double(), b.double(), rtol=1e-5, atol=1e-6, equal_nan=True):
                raise UserError(
                    f"task {task.name}: the reference is not deterministic: two runs on the same inputs differ"
                )
    described_native = _save_all(list(native), folder, f"{case}.native")
    oracle = native
    if any(t.is_floating_point() for t in native):
        try:
            wide_model, wide_inputs = _double(build_model(loaded, task.seed), load_inputs(folder, case))
            wide, _ = tensors.flatten(wide_model(*wide_inputs))
            if [tuple(t.shape) for t in wide] == [tuple(t.shape) for t in native]:
                oracle = [w.double() if n.is_floating_point() else n for w, n in zip(wide, native, strict=True)]
        except (RuntimeError, TypeError, ValueError):
            oracle = native
    described_oracle = _save_all(list(oracle), folder, f"{case}.oracle")
    return {
        "case": case,
        "variant": variant,
        "trial": trial,
        "native": described_native,
        "oracle": described_oracle,
        "structure": structure,
    }


class _ReferenceError(Exception):
    """The task's own code raised, which the parent has to look into: it may be the candidate's doing after all."""


@contextmanager
def _reference_at_work() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise _ReferenceError(_first_line(error)) from error


class _CompiledError(Exception):
    """What torch.compile made of the reference raised."""


def _raising(kind: type[Exception], model: Any, inputs: list[Any]) -> Callable[[], None]:
    """A call of a model whose errors are of the given kind."""

    def call() -> None:
        try:
            model(*inputs)
        except Exception as error:
            raise kind(_first_line(error)) from error

    return call


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0] if text else ''}"[:500]


class _KernelError(Exception):
    """The candidate raised; carries what to report."""

    def __init__(self, report: dict[str, Any]) -> None:
        super().__init__(report["summary"])
        self.report = report


def _blame(error: BaseException, where: str) -> _KernelError:
    """Only the candidate's own frames."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == _KERNEL_FILE]
    lines = [f"line {f.lineno}, in {f.name}: {f.line}" for f in frames[-6:]]
    text = str(error).strip()
    memory = isinstance(error, MemoryError) or "can't allocate memory" in text
    return _KernelError(
        {
            "status": "out_of_memory" if memory else "runtime_error",
            "summary": f"{where} raised {_first_line(error)}",
            "details": "\n".join([*lines, text[:2000]]),
        }
    )


def _load_kernel(source: str) -> ModuleType:
    module = ModuleType("kernelevolve_candidate")
    module.__file__ = _KERNEL_FILE
    linecache.cache[_KERNEL_FILE] = (len(source), None, source.splitlines(keepends=True), _KERNEL_FILE)
    sys.modules[module.__name__] = module
    try:
        exec(compile(source, _KERNEL_FILE, "exec", dont_inherit=True), module.__dict__)
    except Exception as error:
        raise _blame(error, "loading the file") from error
    if not isinstance(getattr(module, "ModelNew", None), type):
        raise _KernelError({"status": "invalid_source", "summary": "the file defines no class ModelNew", "details": ""})
    return module


def _build_kernel(source: str, loaded: LoadedTask) -> nn.Module:
    module = _load_kernel(source)
    torch.manual_seed(loaded.task.seed)
    with _reference_at_work():
        arguments = loaded.get_init_inputs()
    torch.manual_seed(loaded.task.seed)
    try:
        built: nn.Module = module.ModelNew(*arguments)
    except Exception as error:
        raise _blame(error, "the constructor of ModelNew") from error
    return built


def _called(kernel: nn.Module, inputs: list[Any]) -> tuple[list[torch.Tensor], str]:
    try:
        result = kernel(*inputs)
    except Exception as error:
        raise _blame(error, "forward") from error
    try:
        return tensors.flatten(result)
    except TypeError as error:
        raise _KernelError({"status": "wrong_shape", "summary": f"forward {error}", "details": ""}) from error


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    return bool(torch.equal(a.contiguous().reshape(-1).view(torch.uint8), b.contiguous().reshape(-1).view(torch.uint8)))


def _candidate(payload: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Outputs of a candidate for every case, as files; the parent judges them."""
    task = Task.model_validate_json(payload["task"])
    data = Path(payload["data"])
    cases = []
    try:
        with _reference_at_work():
            loaded = load_module(task)
        kernel = _build_kernel(payload["source"], loaded)
        for case in payload["cases"]:
            inputs = load_inputs(data, case)
            outputs, structure = _called(kernel, inputs)
            described = _save_all(list(outputs), folder, f"{case}.out")
            fresh = load_inputs(data, case)
            changed = [
                i
                for i, (x, y) in enumerate(zip(inputs, fresh, strict=True))
                if isinstance(x, torch.Tensor) and not _same(x, y)
            ]
            again, _ = _called(kernel, load_inputs(data, case))
            repeated = _save_all(list(again), folder, f"{case}.again")
            cases.append(
                {"case": case, "out": described, "again": repeated, "structure": structure, "changed": changed}
            )
    except _KernelError as failure:
        return {"failure": failure.report, "cases": cases}
    except _ReferenceError as failure:
        return {"reference": str(failure)}
    return {"cases": cases}


def _time(payload: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Times of the reference and the candidate on the same inputs, and the output of the last timed call.

    Two stages: loading, measuring. Without a candidate the reference is timed against itself.
    """
    task = Task.model_validate_json(payload["task"])
    settings = TimingSettings.model_validate(payload["timing"])
    data, case = Path(payload["data"]), payload["case"]
    last: list[Any] = [None]
    try:
        with _reference_at_work():
            loaded = load_module(task)
            inputs = load_inputs(data, case)
            reference = build_model(loaded, task.seed)

        call_reference = _raising(_ReferenceError, reference, inputs)
        if payload["source"] is None:
            next_stage()
            return {"samples": time_pair(call_reference, call_reference, settings, None, _CLOCK).model_dump()}
        kernel = _build_kernel(payload["source"], loaded)
        _called(kernel, inputs)

        def call() -> None:
            last[0] = kernel(*inputs)

        next_stage()
        samples = time_pair(call_reference, call, settings, payload["floor"], _CLOCK)
        outputs, structure = tensors.flatten(last[0])
    except _KernelError as failure:
        return {"failure": failure.report}
    except _ReferenceError as failure:
        return {"reference": str(failure)}
    except Exception as error:  # noqa: BLE001 - whatever the candidate raises in a later call
        return {"failure": _blame(error, "a timed call").report}
    return {
        "samples": samples.model_dump(),
        "cases": [{"case": case, "out": _save_all(list(outputs), folder, f"{case}.out"), "structure": structure}],
    }


def _compare(payload: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Times of eager, torch.compile and several kernels, interleaved.

    Three stages: torch.compile's work (where it is asked for), loading the kernels, measuring. Kernels are loaded after the
    first, so that what ends the child there is not their doing.
    """
    task = Task.model_validate_json(payload["task"])
    settings = TimingSettings.model_validate(payload["timing"])
    data, case = Path(payload["data"]), payload["case"]
    last: dict[str, Any] = {}
    compiling = ""
    try:
        with _reference_at_work():
            loaded = load_module(task)
            inputs = load_inputs(data, case)
            eager = build_model(loaded, task.seed)
            functions: dict[str, Any] = {"eager": _raising(_ReferenceError, eager, inputs)}
        if payload["compile"]:
            begin = _CLOCK()
            with _reference_at_work():
                model = build_model(loaded, task.seed)
            try:
                compiled = torch.compile(model)
                compiled(*inputs)
            except Exception as error:  # noqa: BLE001 - torch.compile raises what it likes; the report says so
                return {"compiling": {"failure": _first_line(error)}}
            functions["compile"] = _raising(_CompiledError, compiled, inputs)
            compiling = f"compiled in {(_CLOCK() - begin) / 1e9:.1f} s"
            next_stage()
        for name, source in payload["kernels"].items():
            kernel = _build_kernel(source, loaded)
            _called(kernel, inputs)

            def call(name: str = name, kernel: nn.Module = kernel) -> None:
                last[name] = kernel(*inputs)

            functions[name] = call
        next_stage()
        times = time_many(functions, settings, _CLOCK)
        outputs = {}
        for name, value in last.items():
            outputs[name] = _save_all(list(tensors.flatten(value)[0]), folder, f"{name}.out")
    except _KernelError as failure:
        return {"failure": failure.report}
    except _ReferenceError as failure:
        return {"reference": str(failure)}
    except _CompiledError as failure:
        return {"compiling": {"failure": str(failure)}}
    except Exception as error:  # noqa: BLE001 - whatever a kernel raises in a later call
        return {"failure": _blame(error, "a timed call").report}
    return {"times": times, "outputs": outputs, "compiling": {"note": compiling}}
