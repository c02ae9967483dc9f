"""The choice of a run's best kernel after the final measurement."""

from __future__ import annotations

from collections.abc import Sequence

from evaluators.service.comparison import Comparison
from kernelevolve.core.evaluation import Measurement
from kernelevolve.core.graph import Node
from kernelevolve.core.kernel import Kernel
from kernelevolve.report.summary import Best


def winner(finalists: Sequence[tuple[Node, Kernel]], comparison: Comparison | str) -> Best | None:
    """Return the best kernel of a run.

    Args:
        finalists: The fittest nodes of the search with their kernels, best first.
        comparison: The result of the final measurement, or the reason why there is none.

    Returns:
        The best of the final measurement, or None if no kernel passed it; without a final measurement, the best of the
        search.
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
