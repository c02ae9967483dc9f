"""The main loop of a runner process, a child of the fork server that holds one implementation of a task and carries out orders.

Foreign code may control this process, so nothing that it reports is trusted. It never holds both the reference and a candidate, nor a
clock that counts, nor results of other processes. Orders and replies are lines of JSON. Outputs are not sent: the evaluator reads them
from this process's memory.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import linecache
import mmap
import os
import sys
import time
import traceback
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from evaluators.runtime import tensors
from evaluators.runtime.cpu.arena import views
from evaluators.runtime.cpu.aten_share import aten_share
from evaluators.runtime.cpu.drawing import Drawer
from evaluators.runtime.layout import Layout
from evaluators.runtime.parameters import OTHER, PerturbedParameters, built_by_names, perturbed
from evaluators.sandbox import aten
from kernelevolve.core.errors import UserError
from kernelevolve.core.task import AllowAten, Task
from kernelevolve.tasks.eager import compiled, run_eagerly
from kernelevolve.tasks.loading import LoadedTask, build_model, load_module
from kernelevolve.tasks.structure import rebuild_arguments
from kernelevolve.tasks.tensor_kinds import DTYPES

_KERNEL_FILE = "kernel.py"
"""The name of the kernel's file in tracebacks."""


class ImplementationError(Exception):
    """The implementation failed. The error carries the failure to report."""

    def __init__(self, status: str, summary: str, details: str = "") -> None:
        super().__init__(summary)
        self.report = {"status": status, "summary": summary, "details": details}

    def prefixed(self, before: str) -> ImplementationError:
        """Return the same failure with a text before its summary."""
        return ImplementationError(self.report["status"], before + self.report["summary"], self.report["details"])


def prepare_process(*, confined: bool) -> None:
    """Prepare a new process before it is confined. Processes on the CPU need nothing."""
    del confined


def serve(channel: int, arena: int, kind: type[RunnerMain] | None = None) -> None:
    """Carry out orders until the channel is closed.

    Args:
        channel: The descriptor from which orders are read and to which replies are written.
        arena: The descriptor of the memory for inputs.
        kind: The class that carries them out, or None for `RunnerMain`.
    """
    memory = mmap.mmap(arena, os.fstat(arena).st_size)
    os.close(arena)
    run_eagerly()
    process = (kind or RunnerMain)(channel, memory)
    pending = b""
    with torch.no_grad():
        while True:
            while b"\n" not in pending:
                part = os.read(channel, 1 << 20)
                if not part:
                    return
                pending += part
            line, _, pending = pending.partition(b"\n")
            try:
                reply = process.obey(json.loads(line))
            except ImplementationError as failure:
                reply = {"failure": failure.report}
            except UserError as error:
                reply = {"failure": ImplementationError("runtime_error", str(error)).report}
            if reply is not None:
                _write(channel, json.dumps(reply).encode() + b"\n")


def _write(channel: int, text: bytes) -> None:
    while text:
        text = text[os.write(channel, text) :]


class RunnerMain:
    """Carries out the orders of `CpuRunner`. The methods from `placed` on are what another device does differently."""

    device = "cpu"
    """The type of the device on which results must lie."""

    def __init__(self, channel: int, memory: mmap.mmap) -> None:
        self._channel = channel
        self._memory = memory
        self._table = memoryview(memory).cast("B")
        self._model: Any = None
        self._make: Any = None
        self._make_other: Any = None
        """A function that makes a model with other parameters."""
        self._first: Any = None
        """The first model, while a model with other parameters is in use."""
        self._others: dict[str, Any] = {}
        """The models with other parameters that were made in advance."""
        self._hosted: Any = None
        self._drawer: Drawer | None = None
        self._spares: list[Any] | None = None
        self._rule = AllowAten.ALL
        self._inputs: list[list[Any]] = []
        self._results: list[Any] = []
        self._calls = 0
        self._seconds = 0.0
        """The seconds of all calls together."""
        self._names: Mapping[str, Any] = {}
        self._padding: torch.Tensor | None = None

    def obey(self, order: Mapping[str, Any]) -> dict[str, Any] | None:
        """Carry out one order. If it has a layout, the inputs are laid out first. Return the reply, or None if it was written already."""
        if "layout" in order:
            self._lay_out(Layout.model_validate(order["layout"]))
        match order["do"]:
            case "host":
                module, _, name = order["job"].partition(":")
                self._hosted = getattr(importlib.import_module(module), name)(**order["arguments"])
            case "ask" if self._hosted is not None:
                return {"result": getattr(self._hosted, order["method"])(**order["arguments"])}
            case "kernel":
                return self._load_kernel(order)
            case "reference":
                self._load_reference(Task.model_validate_json(order["task"]), order["precision"], order["compiled"])
            case "draw" if self._drawer is not None:
                return self._drawer.draw(order["seed"], Path(order["folder"]))
            case "build":
                self._results.clear()
                self._model = self._first = None
                self._model = self._built(order.get("spares", 0))
            case "parameters":
                self._results.clear()
                return {"there": self._exchange(order["other"])}
            case "mode":
                self._model.train(order["train"])
            case "call":
                return self._call(order["slots"])
            case "rule":
                self._check_rule()
            case "fallback":
                return {"fallback": self._fallback()}
            case "aten_share":
                return {"aten": self._aten_share()}
            case "prepare":
                return self._prepare(
                    order["calls"], order["outputs"], order["slots"], order["padding"], touch=order["touch"]
                )
            case other:
                raise ValueError(f"no order: {other}")
        return {}

    def _load_reference(self, task: Task, precision: str | None, compile_it: bool) -> None:
        loaded = _task_module(task)
        self._names = vars(loaded.module)
        if precision is not None:
            drawer = self._drawer = Drawer(loaded, DTYPES[precision])
            self._make = lambda: self.placed(drawer.model())
        elif compile_it:
            self._make = lambda: compiled(self.placed(build_model(loaded, task.seed)))
        else:
            self._make = lambda: self.placed(build_model(loaded, task.seed))

    def _lay_out(self, layout: Layout) -> None:
        self._results.clear()
        self._inputs = [self._arguments_in(layout, slot) for slot in range(layout.slots)]

    def _arguments_in(self, layout: Layout, slot: int) -> list[Any]:
        leaves = self.leaves(layout, slot)
        return leaves if layout.structure is None else rebuild_arguments(layout.structure, leaves, self._names)

    def _load_kernel(self, order: Mapping[str, Any]) -> dict[str, Any]:
        self._rule = AllowAten(order["allow_aten"])
        if self._rule is not AllowAten.ALL:
            aten.remove_bypasses()
        module = _executed(order["source"])
        self._names = vars(module)
        precision = order.get("precision")

        def make(seed: int = order["seed"]) -> Any:
            arguments = _arguments(order)
            # torch.manual_seed would also record a traceback for devices that are not in use, which takes some milliseconds.
            torch.default_generator.manual_seed(seed)
            try:
                model = module.ModelNew(*arguments)
                return self.placed(model if precision is None else model.to(dtype=DTYPES[precision]))
            except Exception as error:
                raise _blame(error, "the constructor of ModelNew") from error

        self._make = make
        if order.get("others") is not None:
            others = PerturbedParameters.model_validate(order["others"])

            def make_other(*, named: bool) -> Any:
                try:
                    if named:
                        model = make(others.seed)
                        return built_by_names(model, others) if isinstance(model, torch.nn.Module) else None
                    with perturbed(others) as state:
                        model = make(others.seed)
                        return state.mend(model) if isinstance(model, torch.nn.Module) else model
                except ImplementationError as failure:
                    raise failure.prefixed(f"{OTHER}, ") from failure

            self._make_other = make_other
        return {}

    def _exchange(self, other: str) -> bool:
        """Use a model with other parameters, `made` or `named`, or the first model if `other` is empty. Return whether it exists."""
        if self._first is not None:
            self._model, self._first = self._first, None
        if not other:
            self._others.clear()
            return True
        found = self._others[other] if other in self._others else self._make_other(named=other == "named")
        if found is not None:
            self._first, self._model = self._model, found
        return found is not None

    def _built(self, spares: int) -> Any:
        """Return a new model. The first time, `spares` more are made in advance, since constructors cannot compute under the rule."""
        if self._rule is AllowAten.ALL:
            return self._make()
        if self._spares is None:
            self._spares = [self._make() for _ in range(1 + spares)]
            if self._make_other is not None:
                self._others = {how: self._make_other(named=how == "named") for how in ("made", "named")}
            aten.enforce(self._rule)
        return self._spares.pop()

    def _fallback(self) -> dict[str, Any] | None:
        """Return the fields of `FallbackShare`, or None if the kernel does not count its fallback calls, or its counts are no numbers."""
        counted = getattr(self._model, "_ModelNew__fallback", None)
        try:
            calls, seconds = float(counted["calls"]), float(counted["seconds"])  # type: ignore[index]
        except Exception:  # noqa: BLE001 - foreign code's own object
            return None
        return {
            "calls": min(1.0, calls / max(1, self._calls)),
            "seconds": min(1.0, seconds / max(seconds, self._seconds, 1e-9)),
        }

    def _aten_share(self) -> dict[str, Any] | None:
        try:
            return aten_share(lambda: self._model(*self._inputs[0]), self.synchronize)
        except Exception:  # noqa: BLE001 - foreign code need not run under a dispatch mode
            return None

    def _called(self, slot: int) -> Any:
        self._calls += 1
        begin = time.perf_counter()
        try:
            result = self._model(*self._inputs[slot])
            self.synchronize()
            return result
        except Exception as error:
            raise _blame(error, "forward") from error
        finally:
            self._seconds += time.perf_counter() - begin

    def _call(self, slots: list[int]) -> dict[str, Any]:
        """Call the model with each slot. The results are kept until the next order."""
        self._results.clear()
        calls = []
        for slot in slots:
            result = self._taken_apart(self._called(slot))
            self._results.append(result)
            described = [tensors.describe(t) for t in result.tensors]
            calls.append(
                {
                    "outputs": described,
                    "values": result.values,
                    "structure": result.structure,
                    "as_tuples": result.as_tuples,
                }
            )
        return {"calls": calls, **self.whereabouts(result.tensors for result in self._results)}

    def _prepare(
        self, calls: int, outputs: int, slots: list[int], padding: int, *, touch: bool
    ) -> dict[str, Any] | None:
        """Call the model with `slots`, reply with those results, then wait for the start of a timed block and run it.

        Args:
            calls: The number of calls of the block.
            outputs: The number of tensors that each call returns.
            slots: The slots of the calls before the block.
            padding: The bytes that are allocated first, so that results lie elsewhere in each block.
            touch: Whether the padding is written to, so that its pages are in memory.
        """
        self._results.clear()
        self._padding = None
        self._padding = self._padded(padding, touch=touch)
        reply = self._call(slots)
        _write(self._channel, json.dumps(reply).encode() + b"\n")
        warm, self._results = self._results, [None] * calls
        model, inputs, results = self._model, self._inputs, self._results
        table = self._table[: 8 * max(1, calls * outputs)].cast("Q")
        channel, read, write = self._channel, os.read, os.write
        pointer_of, pointers_of, is_plain_tensor = tensors.pointer_of, tensors.pointers_of, tensors.is_plain_tensor
        failure = None
        gc.disable()
        if not read(channel, 1):
            return None
        try:
            for i in range(calls):
                results[i] = model(*inputs[i])
            for i in range(calls):
                result = results[i]
                if outputs == 1 and is_plain_tensor(result):
                    table[i] = pointer_of(result)
                else:
                    found = pointers_of(result, results)
                    if len(found) != outputs:
                        raise TypeError(f"it returned {len(found)} tensors, {outputs} before")
                    for j, pointer in enumerate(found):
                        table[i * outputs + j] = pointer
            report = self.block_report(table[: calls * outputs])
            self.synchronize()
        except ImplementationError as error:
            failure = error
        except Exception as error:  # noqa: BLE001 - whatever foreign code raises in a later call
            failure = _blame(error, "a timed call")
        if failure is None:
            write(channel, report)
        else:
            _write(channel, json.dumps({"failure": failure.report}).encode() + b"\n")
        gc.enable()
        del warm
        return None

    def _check_rule(self) -> None:
        """Raise ImplementationError if operators that the task forbids no longer raise."""
        if self._rule is not AllowAten.ALL and not aten.in_force(self.device):
            raise ImplementationError(
                "cheating", "the kernel re-enabled PyTorch's own compute, which this task forbids"
            )

    def _padded(self, size: int, *, touch: bool) -> torch.Tensor:
        """Return new memory of the device of `size` bytes. `touch` says whether it is written to, so that its pages exist."""
        padding = torch.empty(size, dtype=torch.uint8)
        if touch:
            ctypes.memset(padding.data_ptr(), 0, size)
        return padding

    def _taken_apart(self, result: Any) -> tensors.Result:
        try:
            return tensors.flatten_result(result, self.device)
        except TypeError as error:
            raise ImplementationError("wrong_shape", f"forward {error}") from error

    def placed(self, model: Any) -> Any:
        """Return a new model on the device."""
        return model

    def leaves(self, layout: Layout, slot: int) -> list[Any]:
        """Return the leaves of the arguments of a slot, whose tensors lie on the device."""
        return views(self._memory, layout, slot)

    def synchronize(self) -> None:
        """Wait until the device has done what it was told. Raises what went wrong there."""

    def block_report(self, table: memoryview) -> bytes:
        """Return the line that ends a timed block, for the addresses of its results."""
        del table
        return b"\n"

    def whereabouts(self, results: Iterable[Sequence[torch.Tensor]]) -> dict[str, Any]:
        """Return further fields of a reply to calls, by which the evaluator finds the tensors of the results."""
        del results
        return {}


def _task_module(task: Task) -> LoadedTask:
    try:
        return load_module(task)
    except UserError as error:
        raise ImplementationError("runtime_error", str(error)) from error


def _arguments(order: Mapping[str, Any]) -> list[Any]:
    """Return the arguments of the constructor: decoded, or from the task's own code if they could not be encoded."""
    if order["init"] is None:
        task = Task.model_validate_json(order["task"])
        torch.manual_seed(task.seed)
        return _task_module(task).get_init_inputs()
    return [tensors.decode(value) for value in order["init"]]


def _executed(source: str) -> ModuleType:
    module = ModuleType("kernelevolve_candidate")
    module.__file__ = _KERNEL_FILE
    linecache.cache[_KERNEL_FILE] = (len(source), None, source.splitlines(keepends=True), _KERNEL_FILE)
    sys.modules[module.__name__] = module
    try:
        exec(compile(source, _KERNEL_FILE, "exec", dont_inherit=True), module.__dict__)
    except Exception as error:
        raise _blame(error, "loading the file") from error
    if not callable(getattr(module, "ModelNew", None)):
        raise ImplementationError("invalid_source", "the file defines no class ModelNew")
    return module


def _blame(error: BaseException, where: str) -> ImplementationError:
    """Return the failure for an error of foreign code, with only the candidate's own frames in its details."""
    ruled_out = aten.named_in(error)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == _KERNEL_FILE]
    lines = [f"line {f.lineno}, in {f.name}: {f.line}" for f in frames[-6:]]
    try:
        text = str(error).strip()
    except Exception:  # noqa: BLE001 - foreign code defines how its errors are formatted
        text = "an error without a readable message"
    if ruled_out:
        return ImplementationError("cheating", f"{where} called {ruled_out}", "\n".join([*lines, text[:2000]]))
    memory = isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in text
    first = f"{type(error).__name__}: {text.splitlines()[0] if text else ''}"[:500]
    return ImplementationError(
        "out_of_memory" if memory else "runtime_error", f"{where} raised {first}", "\n".join([*lines, text[:2000]])
    )
