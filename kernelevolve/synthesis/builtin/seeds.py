"""The seed kernels of a task, the same for all islands and runs."""

from __future__ import annotations

import json
from dataclasses import dataclass

from kernelevolve.core.kernel import Kernel
from kernelevolve.core.task import AllowAten, Task
from kernelevolve.synthesis.builtin.chain import Stage
from kernelevolve.synthesis.builtin.inductor.isolated import answer
from kernelevolve.synthesis.builtin.kept import kept
from kernelevolve.synthesis.builtin.reference_seed import reference_copy, reference_variants
from kernelevolve.synthesis.traced.builder import UnsupportedError


@dataclass(frozen=True)
class Seed:
    """A kernel to start from."""

    kernel: Kernel
    """The kernel."""
    remark: str = ""
    """One line that says what is particular about it, or an empty text."""


def forbidden(task: Task) -> dict[Stage, str]:
    """Return the stages whose kernels the task's rule forbids, with the reason."""
    if task.allow_aten is AllowAten.ALL:
        return {}
    why = f"its task forbids PyTorch's own compute (allow_aten: {task.allow_aten.value})"
    return dict.fromkeys((Stage.ATEN, Stage.REFERENCE), why)


def seeds_of(task: Task, stage: Stage) -> tuple[Seed, ...]:
    """Return the seeds of a stage other than the traced form, the most promising first.

    Those from PyTorch's compilers take many seconds.

    Raises:
        UnsupportedError: There are none. The error says why.
    """
    if stage is Stage.REFERENCE:
        variants = [Seed(kernel, what) for what, kernel in reference_variants(task).items()]
        return (Seed(reference_copy(task)), *variants)
    told = _answer(task, stage)
    if "refused" in told:
        raise UnsupportedError(told["refused"])
    return (Seed(Kernel.model_validate_json(told["kernel"]), told["remark"]),)


def _answer(task: Task, stage: Stage) -> dict[str, str]:
    """Return the answer of the process that makes the seeds of a stage."""
    found: dict[str, str] = json.loads(kept(task, stage.value, lambda: json.dumps(answer(task, stage.value)).encode()))
    return found
