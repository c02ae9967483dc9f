"""The folder `best/`: the winning kernel as a self-contained file, its task, and how to check it."""

from __future__ import annotations

from pathlib import Path

from devices.languages import get_language
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.task import Task
from kernelevolve.report.figures import ratio_text, variants_text
from kernelevolve.report.files import write_text
from kernelevolve.report.summary import Best


def write_best(folder: Path, task: Task, kernel: Kernel, best: Best) -> None:
    """Write `kernel.py`, `task.py` and `README.md` into a folder.

    Args:
        folder: The folder, which is created if necessary.
        task: The task.
        kernel: The winning kernel.
        best: Its figures.

    Raises:
        OSError: Writing failed.
    """
    folder.mkdir(exist_ok=True)
    write_text(folder / "task.py", task.source)
    write_text(folder / "kernel.py", kernel.source)
    write_text(folder / "README.md", _readme(task, kernel, best))


def _readme(task: Task, kernel: Kernel, best: Best) -> str:
    over_compile = f"; over torch.compile {ratio_text(best.speedup_over_compile)}" if best.speedup_over_compile else ""
    variants = f"Variants over eager: {variants_text(best.variants)}.\n" if best.variants else ""
    figures = f"Not measured: {best.not_measured}."
    if best.speedup is not None:
        figures = f"""Measured ({best.measured}), {best.speedup.confidence:.0%} interval in parentheses:
{ratio_text(best.speedup)} over eager PyTorch{over_compile}."""
    return f"""# {task.name}

`kernel.py` defines `ModelNew`, a replacement of `Model` in `task.py`. It needs torch{_needs(kernel)} and nothing else.

{figures}
{variants}Kernel {best.kernel_id}, node {best.node}{f" ({best.note})" if best.note else ""}.

Check it on this machine:

    kernelevolve evaluate task.py kernel.py

Use it:

    import torch
    from kernel import ModelNew
    from task import get_init_inputs, get_inputs

    torch.manual_seed({task.seed})
    model = ModelNew(*get_init_inputs())
    print(model(*get_inputs()))
"""


def _needs(kernel: Kernel) -> str:
    needs = get_language(kernel.language).needs
    return f", {needs}" if needs else ""
