"""Rules that turn the evaluation of a kernel into advice: what bounds it, and how to mend a failure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from kernelevolve.core.evaluation import Evaluation, Measurement, Status
from kernelevolve.core.graph import Node
from kernelevolve.core.record import Record
from kernelevolve.synthesis.universal.task_facts import TaskFacts

_CALL_SECONDS = 20e-6
"""The seconds below which a call is bound by the overhead around the kernel: Python, ctypes, starting threads."""
_MEMORY, _COMPUTE = 4.0, 32.0
"""The operations per byte below which memory bounds a kernel on current machines, and above which arithmetic does."""
_UNEVEN = 1.5
"""The ratio of speedups from which an input variant is reported as slower."""
_OTHERS_SHARE = 0.2
"""The share of a call in PyTorch's own operators from which it is reported."""
_ADVICE = {
    Status.INVALID_SOURCE: "Answer with a complete file that defines ModelNew, or with edits that fit.",
    Status.COMPILE_ERROR: "Mend the first error; later ones often follow from it.",
    Status.RUNTIME_ERROR: "It stopped with an exception: look at shapes, types and argument lists of what is called.",
    Status.WRONG_RESULT: "Its speed does not count while it is wrong: keep the structure, mend the arithmetic or the indices.",
    Status.WRONG_SHAPE: "Allocate the outputs as the reference returns them: shape, dtype, number, structure.",
    Status.TIMEOUT: "It did not end in time: look for an endless loop, a deadlock of threads, or far too much work.",
    Status.CRASHED: "It died: an index out of bounds, a pointer to freed memory, an instruction that this processor lacks.",
    Status.OUT_OF_MEMORY: "It took too much memory: work in blocks, and free or keep buffers instead of allocating in each call.",
    Status.CHEATING: "Do all of the work in every call, from the inputs of that call.",
}


class Bound(StrEnum):
    """What bounds the time of a kernel. The values appear in prompts."""

    OVERHEAD = "what is around the kernel"
    MEMORY = "memory"
    COMPUTE = "arithmetic"
    FOREIGN = "PyTorch's own operators"
    UNCLEAR = "not clear"


class Analysis(Record):
    """The advice that follows from the evaluation of a kernel."""

    bound: Bound
    findings: tuple[str, ...]
    """Observations, one line each."""
    next_step: str
    """The advice for the next kernel."""


def analysed(node: Node, facts: TaskFacts, device: Mapping[str, str]) -> Analysis:
    """Analyse the evaluation of a node.

    Args:
        node: The evaluated node.
        facts: The work and the traffic of the task.
        device: The facts of the target by name, such as `vector_bits`.
    """
    evaluation = node.evaluation
    if evaluation.measurement is None:
        return Analysis(bound=Bound.UNCLEAR, findings=(), next_step=_ADVICE[evaluation.status])
    findings = [*_speed(evaluation.measurement, facts), *_variants(evaluation)]
    bound = _bound(evaluation, facts)
    if evaluation.aten and evaluation.aten.share >= _OTHERS_SHARE:
        most = ", ".join(f"{name} {share:.0%}" for name, share in list(evaluation.aten.operators.items())[:3])
        findings.append(f"{evaluation.aten.share:.0%} of a call is PyTorch's own work: {most}")
    if "traffic_bytes" in node.traits and facts.least_bytes:
        times = node.traits["traffic_bytes"] / facts.least_bytes
        findings.append(
            f"it moves {times:.1f} times the bytes that must be moved, in {node.traits['passes']:.0f} passes"
        )
    return Analysis(bound=bound, findings=tuple(findings), next_step=_next(bound, device))


def _speed(measured: Measurement, facts: TaskFacts) -> list[str]:
    seconds = measured.kernel_seconds
    found = [f"{seconds * 1e6:.1f} us a call, the reference {measured.reference_seconds * 1e6:.1f} us"]
    if facts.least_bytes:
        found.append(f"{facts.least_bytes / seconds / 1e9:.1f} GB/s of what must be read and written")
    if facts.flops:
        found.append(f"{facts.flops / seconds / 1e9:.1f} GFLOP/s in products")
    return found


def _variants(evaluation: Evaluation) -> list[str]:
    main = evaluation.fitness
    return [
        f"on the inputs {name} it is only {measured.speedup.value:.2f}x"
        for name, measured in evaluation.variants.items()
        if measured.speedup is not None and measured.speedup.value * _UNEVEN < main
    ]


def _bound(evaluation: Evaluation, facts: TaskFacts) -> Bound:
    assert evaluation.measurement is not None
    if evaluation.aten and evaluation.aten.share > 0.5:
        return Bound.FOREIGN
    if evaluation.measurement.kernel_seconds < _CALL_SECONDS:
        return Bound.OVERHEAD
    intensity = facts.flops / max(1, facts.least_bytes)
    if intensity < _MEMORY:
        return Bound.MEMORY
    return Bound.COMPUTE if intensity > _COMPUTE else Bound.UNCLEAR


def _next(bound: Bound, device: Mapping[str, str]) -> str:
    width = device.get("vector_bits")
    match bound:
        case Bound.OVERHEAD:
            return "Do less around the kernel: fewer calls from Python, no copies, one allocation, no threads for so little."
        case Bound.MEMORY:
            return "Pass over memory once: fuse what reads the same data, keep blocks in cache, write results without reading them first."
        case Bound.COMPUTE:
            return f"Use vectors fully{f' ({width} bits)' if width else ''}: tiles in registers, independent accumulators, packed operands."
        case Bound.FOREIGN:
            return "Most of the time is in PyTorch's operators: do in the kernel what they do, fused with what stands around them."
        case Bound.UNCLEAR:
            return "Try a change that tells whether memory or arithmetic bounds it: other tiles, other unrolling, fewer passes."
