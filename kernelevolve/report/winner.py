"""The best of a run, by what the last measurement found."""

from __future__ import annotations

from collections.abc import Sequence

from evaluators.service.comparison import Comparison
from kernelevolve.core.evaluation import Measurement
from kernelevolve.core.graph import Node
from kernelevolve.core.kernel import Kernel
from kernelevolve.report.summary import Best


def winner(finalists: Sequence[tuple[Node, Kernel]], comparison: Comparison | str) -> Best | None:
    """The best of the last measurement, None where none came through it; the best of the search where it was not made.

    `comparison`: what was found, or why nothing was measured.
    """
    if isinstance(comparison, str):
        if not finalists:
            return None
        node = finalists[0][0]
        measured = node.evaluation.measurement
        return _best(node, measured, "search", f"not measured: {comparison}") if measured else None
    if not comparison.finalists:
        return None
    first = comparison.finalists[0]
    node = next(node for node, kernel in finalists if kernel.id == first.kernel_id)
    return _best(node, first.over_eager, "final", comparison.compile_note).model_copy(
        update={"speedup_over_compile": first.over_compile, "variants": first.variants}
    )


def _best(node: Node, measured: Measurement, how: str, compile_note: str) -> Best:
    return Best(
        node=node.id,
        kernel_id=node.kernel_id,
        speedup=measured.speedup,
        not_measured=measured.not_measured,
        speedup_over_compile=None,
        compile_note=compile_note,
        eager_seconds=measured.reference_seconds,
        kernel_seconds=measured.kernel_seconds,
        measured=how,
        note=node.note,
        fallback=node.evaluation.fallback,
        warnings=node.evaluation.warnings,
    )
