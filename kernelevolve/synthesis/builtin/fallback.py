"""What a kernel does with inputs that it was not written for: the reference's own operations, counted."""

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
    """The method `__reference` of `ModelNew`. Where the task forbids PyTorch's own compute it raises ValueError."""
    return _COUNTED if task.allow_aten is AllowAten.ALL else _REFUSED


def fallback_calls(model: Any) -> int:
    """How often a built kernel of ours has run the reference's own operations."""
    return int(getattr(model, "_ModelNew__fallback", {"calls": 0})["calls"])


def unless(condition: str, names: Sequence[str]) -> str:
    """Statements of `forward` that hand its inputs, `names`, to the reference where `condition` does not hold; "" where there is none."""
    if not condition:
        return ""
    return textwrap.indent(f"if not ({condition}):\n    return self.__reference({', '.join(names)})", "    ")


def unpacked(arguments: Arguments) -> list[str]:
    """Statements of `forward` that give each leaf of what it takes its name; what is nested otherwise goes to the reference."""
    nested = unless(" and ".join(arguments.conditions()), arguments.parameters)
    return [*filter(None, [nested]), *(f"    {line}" for line in arguments.unpacking())]


def fits_method(
    name: str, inputs: Sequence[str], bindings: Sequence[tuple[str, str]], conditions: Sequence[str]
) -> str:
    """A method that says whether all of `conditions` hold for its inputs.

    They may use the sizes that `bindings` give by name, and each is safe once those before it hold.
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
