"""Records for tests, made from a few numbers."""

from __future__ import annotations

from collections.abc import Mapping

from kernelevolve.core.evaluation import Diagnosis, Evaluation, Measurement, Ratio, Status
from kernelevolve.core.graph import Node, Phase
from kernelevolve.core.kernel import Kernel


def make_kernel(number: int) -> Kernel:
    return Kernel(source=f"# kernel {number}\n", language="python", knobs={"number": number})


def make_evaluation(kernel: Kernel, fitness: float, status: Status = Status.WRONG_RESULT) -> Evaluation:
    """Correct with the given speedup; where that is 0, failed with the given status."""
    measurement, diagnosis = None, None
    if fitness > 0:
        status = Status.OK
        ratio = Ratio(value=fitness, low=fitness * 0.9, high=fitness * 1.1)
        measurement = Measurement(speedup=ratio, reference_seconds=fitness, kernel_seconds=1.0, rounds=5)
    else:
        diagnosis = Diagnosis(stage="correctness", summary="it is wrong")
    return Evaluation(
        kernel_id=kernel.id,
        task_id="task",
        device="cpu",
        status=status,
        measurement=measurement,
        diagnosis=diagnosis,
    )


def make_entry(
    step: int,
    fitness: float = 1.0,
    *,
    kernel: int | None = None,
    parents: tuple[str, ...] = (),
    island: int = 0,
    cached: bool = False,
    traits: Mapping[str, float] | None = None,
    extra_evaluations: int = 0,
) -> tuple[Node, Kernel]:
    """A node with its kernel. `kernel` is the kernel's number, by default one of its own."""
    text = make_kernel(1000 * island + step if kernel is None else kernel)
    node = Node(
        id=f"run.{island}.{step}",
        run="run",
        island=island,
        step=step,
        phase=Phase.EXPAND if parents else Phase.DRAFT,
        parents=parents,
        operator="test/move",
        kernel_id=text.id,
        evaluation=make_evaluation(text, fitness),
        cached=cached,
        traits=traits or {},
        extra_evaluations=extra_evaluations,
        seconds=float(step),
    )
    return node, text
