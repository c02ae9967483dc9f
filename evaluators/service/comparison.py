"""What the last measurement of a run finds."""

from __future__ import annotations

from collections.abc import Mapping

from kernelevolve.core.evaluation import AtenShare, Measurement, Ratio
from kernelevolve.core.record import Record


class Finalist(Record):
    """One kernel against both references."""

    kernel_id: str
    over_eager: Measurement
    over_compile: Ratio | None
    """None where torch.compile was not timed, or the ratio could not be told."""
    variants: Mapping[str, Measurement] = {}
    """Over eager, of the task's further inputs by name: of the best finalist only."""
    aten: AtenShare | None = None


class Comparison(Record):
    """What the last measurement found; `finalists` best first, without those that failed in it."""

    finalists: tuple[Finalist, ...]
    failures: Mapping[str, str]
    """Kernel id -> why it is not among the finalists."""
    compile_over_eager: Ratio | None
    compile_note: str
    """How torch.compile went; why not, where it did not."""
