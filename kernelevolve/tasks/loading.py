"""Running the source of a task, and building its model and inputs."""

from __future__ import annotations

import linecache
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from types import ModuleType
from typing import Any

import torch
from torch import nn

from kernelevolve.core.errors import UserError
from kernelevolve.core.task import Task
from kernelevolve.tasks.structure import Structure, StructureError, flatten
from kernelevolve.tasks.tensor_kinds import fault_of


@dataclass(frozen=True)
class LoadedTask:
    """A task whose module has been executed in this process."""

    task: Task
    module: ModuleType
    model_class: type[nn.Module]

    def get_inputs(self) -> list[Any]:
        """Return the arguments of `forward`. They are drawn from torch's global generator; see `draw_inputs`."""
        return _listed(self.task, "get_inputs", self._call("get_inputs"))

    def get_init_inputs(self) -> list[Any]:
        """Return the arguments of the constructor; empty if the file does not define the function."""
        if not hasattr(self.module, "get_init_inputs"):
            return []
        return _listed(self.task, "get_init_inputs", self._call("get_init_inputs"))

    def get_input_variants(self) -> dict[str, list[Any]]:
        """Return further inputs by name; empty if the file does not define the function."""
        if not hasattr(self.module, "get_input_variants"):
            return {}
        variants = self._call("get_input_variants")
        if not isinstance(variants, Mapping) or not all(isinstance(name, str) for name in variants):
            raise UserError(f"task {self.task.name}: get_input_variants must return a dict of name -> list of inputs")
        return {name: _listed(self.task, f"get_input_variants[{name!r}]", value) for name, value in variants.items()}

    def get_input_ranges(self) -> list[Any] | None:
        """Return the declared ranges of each input's values, unchecked, or None if there are none."""
        if not hasattr(self.module, "get_input_ranges"):
            return None
        return _listed(self.task, "get_input_ranges", self._call("get_input_ranges"))

    def blamed(self, what: str) -> AbstractContextManager[None]:
        """Turn errors raised inside of the context into UserErrors that name the task, the line and `what` raised."""
        return _blames_the_task(self.task, what)

    def _call(self, name: str) -> Any:
        function: Callable[[], Any] = getattr(self.module, name)
        with _blames_the_task(self.task, f"{name}()"):
            return function()


def load_module(task: Task) -> LoadedTask:
    """Execute the task's source as a module of its own.

    The text is registered with `linecache` and the module in `sys.modules` (as `kernelevolve_task_<id>`), so that
    tracebacks, `inspect`, `torch.export` and `torch.compile` find its lines. Each call returns a fresh namespace.

    Raises:
        UserError: The source raises, or does not define a class `Model` (an `nn.Module`) and a function `get_inputs`.
    """
    name = f"kernelevolve_task_{task.id}"
    filename = source_filename(task)
    module = ModuleType(name)
    module.__file__ = filename
    # Without a modification time linecache never looks for the file on disk.
    linecache.cache[filename] = (len(task.source), None, task.source.splitlines(keepends=True), filename)
    previous = sys.modules.get(name)
    sys.modules[name] = module
    try:
        with _blames_the_task(task, "the file"):
            exec(compile(task.source, filename, "exec", dont_inherit=True), module.__dict__)
        return LoadedTask(task=task, module=module, model_class=_model_class(task, module))
    except UserError:
        if previous is None:
            del sys.modules[name]
        else:
            sys.modules[name] = previous
        raise


def build_model(loaded: LoadedTask, seed: int, weights_seed: int | None = None) -> nn.Module:
    """Build the reference with its weights. Its training mode is left as it is.

    A candidate whose constructor draws the same numbers in the same order gets the same weights from the same seed.

    Args:
        loaded: The task.
        seed: The seed set with `torch.manual_seed` right before `get_init_inputs`.
        weights_seed: The seed set right before the constructor; None: `seed`.

    Raises:
        UserError: The constructor raises.
    """
    torch.manual_seed(seed)
    arguments = loaded.get_init_inputs()
    torch.manual_seed(seed if weights_seed is None else weights_seed)
    with _blames_the_task(loaded.task, "the constructor of Model"):
        return loaded.model_class(*arguments)


def draw_inputs(loaded: LoadedTask, seed: int, variant: str | None = None) -> list[Any]:
    """Draw inputs under `torch.manual_seed(seed)`.

    Args:
        loaded: The task.
        seed: The seed.
        variant: The name of a variant; None: the main inputs.

    Returns:
        The arguments of `forward`.

    Raises:
        UserError: There is no such variant; or the task's function raises, returns no list, or returns something that
            cannot be given to a kernel.
    """
    drawn = _drawn(loaded, seed, variant)
    flat_inputs(loaded, drawn, variant)
    return drawn


def flat_inputs(loaded: LoadedTask, inputs: Sequence[Any], variant: str | None = None) -> tuple[list[Any], Structure]:
    """Flatten drawn inputs.

    Args:
        loaded: The task.
        inputs: The arguments of `forward`.
        variant: The name of the variant that they belong to, for messages.

    Returns:
        The leaves (tensors and plain values), and the structure of the list of arguments.

    Raises:
        UserError: Something cannot be given to a kernel. The message names the input and the remedy.
    """
    where = f"task {loaded.task.name}: {f'variant {variant}, ' if variant is not None else ''}input "
    leaves: list[Any] = []
    parts: list[Structure] = []
    for i, value in enumerate(inputs):
        try:
            found, structure = flatten(value)
        except StructureError as error:
            raise UserError(f"{where}{i}{error}") from error
        for path, leaf in zip(structure.paths(), found, strict=True):
            fault = fault_of(leaf) if isinstance(leaf, torch.Tensor) else ""
            if fault:
                raise UserError(f"{where}{i}{path} {fault}")
        leaves += found
        parts.append(structure)
    return leaves, Structure(kind="list", parts=tuple(parts))


def _drawn(loaded: LoadedTask, seed: int, variant: str | None) -> list[Any]:
    torch.manual_seed(seed)
    if variant is None:
        return loaded.get_inputs()
    variants = loaded.get_input_variants()
    if variant not in variants:
        near = get_close_matches(variant, variants, n=1, cutoff=0.3)
        hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(variants) or 'none'}"
        raise UserError(f"task {loaded.task.name} has no variant '{variant}': {hint}")
    return variants[variant]


def source_filename(task: Task) -> str:
    """Return the name under which the task's lines appear in tracebacks."""
    return f"<task {task.name} {task.id}>"


def _model_class(task: Task, module: ModuleType) -> type[nn.Module]:
    model = getattr(module, "Model", None)
    if not (isinstance(model, type) and issubclass(model, nn.Module)):
        raise UserError(f"task {task.name}: Model must be a class derived from torch.nn.Module")
    for name in ("get_inputs", "get_init_inputs", "get_input_variants", "get_input_ranges"):
        if (name == "get_inputs" or hasattr(module, name)) and not callable(getattr(module, name, None)):
            raise UserError(f"task {task.name}: {name} must be a function without arguments")
    return model


def _listed(task: Task, what: str, value: Any) -> list[Any]:
    if not isinstance(value, (list, tuple)):
        raise UserError(f"task {task.name}: {what} must return a list, not {type(value).__name__}")
    return list(value)


_REMEDIES = {
    "CUDA": "tasks run on the CPU: leave .cuda() and device='cuda' out",
    "NVIDIA": "tasks run on the CPU: leave .cuda() and device='cuda' out",
    "does not require grad": "it runs under torch.no_grad(): write `with torch.enable_grad():` around what needs gradients",
    "EOF when reading a line": "nobody is there to answer input()",
}
"""Words in an error -> the remedy."""


def reason_of(error: BaseException) -> str:
    """Return an error of the user's code in one line, with the usual remedy if there is one."""
    lines = str(error).strip().splitlines()
    reason = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    remedy = next((text for words, text in _REMEDIES.items() if words in reason), "")
    return f"{reason} ({remedy})" if remedy else reason


@contextmanager
def _blames_the_task(task: Task, what: str) -> Iterator[None]:
    """Turn whatever the user's source raises into a UserError with the line in the source.

    All exceptions are caught since the source is foreign code. The cause stays attached.
    """
    try:
        yield
    except SystemExit as error:
        raise UserError(
            f"task {task.name}: {what} ends the process (exit code {error.code}): remove the exit, and parse no command line"
        ) from error
    except Exception as error:
        reason = reason_of(error)
        if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
            raise UserError(f"task {task.name}: {what} does not fit in memory; make it smaller ({reason})") from error
        filename = source_filename(task)
        places = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == filename]
        line = error.lineno if isinstance(error, SyntaxError) and error.filename == filename else None
        line = line or (places[-1] if places else None)
        raise UserError(f"task {task.name}{f', line {line}' if line else ''}: {what} raised {reason}") from error
