"""The result of the final measurement of a run."""

from __future__ import annotations

from collections.abc import Mapping

from kernelevolve.core.evaluation import AtenShare, Measurement, Ratio
from kernelevolve.core.record import Record


class Finalist(Record):
    """The final measurement of one kernel."""

    kernel_id: str
    """The id of the kernel."""
    over_eager: Measurement
    """The measurement against eager PyTorch, on the main inputs."""
    over_compile: Ratio | None
    """The speedup over torch.compile, or None if that was not timed or the measurement was not precise enough."""
    variants: Mapping[str, Measurement] = {}
    """The measurements against eager PyTorch on the task's further inputs, by name. Only the best finalist has them."""
    aten: AtenShare | None = None
    """The share of a call that PyTorch's own operators take, or None if it could not be measured."""


class Comparison(Record):
    """The result of the final measurement."""

    finalists: tuple[Finalist, ...]
    """The kernels that did not fail, best first."""
    failures: Mapping[str, str]
    """The reason why a kernel is not among the finalists, by its id."""
    compile_over_eager: Ratio | None
    """The speedup of torch.compile over eager PyTorch, or None if it was not measured."""
    compile_note: str
    """A note on how torch.compile went, or why it was not measured."""
