"""The fallback of kernels to the reference's own operations, for inputs that they were not written for. Its calls are counted."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Sequence
from typing import Any

from kernelevolve.core.task import AllowAten, Task
from kernelevolve.synthesis.traced.signature import Arguments

_COUNTED = '''\
__fallback = {"calls": 0, "seconds": 0.0}

def __reference(self, *inputs):
    """The reference's own operations, for what this kernel was not written for; `__fallback` counts how often, and how long."""
    import time

    begin = time.perf_counter()
    try:
        return super().forward(*inputs)
    finally:
        self.__fallback["calls"] += 1
        self.__fallback["seconds"] += time.perf_counter() - begin
'''

_REFUSED = '''\
def __reference(self, *inputs):
    """Its task forbids the reference's own operations."""
    shapes = [tuple(getattr(x, "shape", ())) for x in inputs]
    raise ValueError(f"this kernel was not written for inputs of shapes {shapes}, or for this mode of its modules")
'''


def reference_method(task: Task) -> str:
    """Return the text of the method `__reference` of `ModelNew`. It raises ValueError if the task forbids PyTorch's own compute."""
    return _COUNTED if task.allow_aten is AllowAten.ALL else _REFUSED


def fallback_calls(model: Any) -> int:
    """Return how many calls of a built kernel have run the reference's own operations."""
    return int(getattr(model, "_ModelNew__fallback", {"calls": 0})["calls"])


def unless(condition: str, names: Sequence[str]) -> str:
    """Return statements of `forward` that pass its inputs `names` to the reference unless `condition` holds. Without one they are empty."""
    if not condition:
        return ""
    return textwrap.indent(f"if not ({condition}):\n    return self.__reference({', '.join(names)})", "    ")


def unpacked(arguments: Arguments) -> list[str]:
    """Return statements of `forward` that name each leaf of its arguments. Arguments that are nested otherwise go to the reference."""
    nested = unless(" and ".join(arguments.conditions()), arguments.parameters)
    return [*filter(None, [nested]), *(f"    {line}" for line in arguments.unpacking())]


def fits_method(
    name: str, inputs: Sequence[str], bindings: Sequence[tuple[str, str]], conditions: Sequence[str]
) -> str:
    """Return the text of a method that says whether all conditions hold for its inputs.

    Args:
        name: The name of the method.
        inputs: The names of its inputs.
        bindings: Sizes that the conditions may use, as (name, expression).
        conditions: Python expressions. Each can be evaluated if those before it hold.
    """
    bound = {size for size, _ in bindings}
    early = [c for c in conditions if not bound & _names(c) and ".shape[" not in c]
    late = [c for c in conditions if c not in early]
    lines = [f"def {name}({', '.join(['self', *inputs])}):"]
    lines += [f"    if not ({' and '.join(early)}):", "        return False"] if early else []
    lines += [f"    {size} = {value}" for size, value in bindings]
    lines.append(f"    return {' and '.join(late) or 'True'}")
    return "\n".join(lines) + "\n"


def _names(expression: str) -> set[str]:
    return {n.id for n in ast.walk(ast.parse(expression)) if isinstance(n, ast.Name)}
