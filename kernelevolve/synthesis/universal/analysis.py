"""What a verdict says to who writes the next kernel, by rules: what bounds it, what the next bottleneck is, what failed and why."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from kernelevolve.core.evaluation import Evaluation, Measurement, Status
from kernelevolve.core.graph import Node
from kernelevolve.core.record import Record
from kernelevolve.synthesis.universal.task_facts import TaskFacts

_CALL_SECONDS = 20e-6
"""A call that takes less is made of what is around the kernel: Python, ctypes, starting threads."""
_MEMORY, _COMPUTE = 4.0, 32.0
"""Operations per byte below which memory bounds any machine of today, and above which arithmetic does."""
_UNEVEN = 1.5
"""Between inputs, by which a speedup is told to differ."""
_OTHERS_SHARE = 0.2
_ADVICE = {
    Status.INVALID_SOURCE: "Answer with a complete file that defines ModelNew, or with edits that fit.",
    Status.COMPILE_ERROR: "Mend the first message first; those behind it often follow from it.",
    Status.RUNTIME_ERROR: "It stopped with an exception: look at shapes, types and argument lists of what is called.",
    Status.WRONG_RESULT: "It is fast or slow for nothing while it is wrong: keep its structure and mend the arithmetic or the indices.",
    Status.WRONG_SHAPE: "Allocate the outputs as the reference returns them: shape, dtype, number, structure.",
    Status.TIMEOUT: "It did not end in time: look for a loop without end, a deadlock of threads, or far too much work.",
    Status.CRASHED: "It died: an index out of bounds, a pointer to freed memory, an instruction that this processor lacks.",
    Status.OUT_OF_MEMORY: "It took too much memory: work in blocks, and free or keep buffers instead of allocating in each call.",
    Status.CHEATING: "Do the work that is asked for, in every call, from the inputs of that call.",
}


class Bound(StrEnum):
    """By what a kernel's time is made."""

    OVERHEAD = "what is around the kernel"
    MEMORY = "memory"
    COMPUTE = "arithmetic"
    FOREIGN = "PyTorch's own operators"
    UNCLEAR = "not clear"


class Analysis(Record):
    """Of one kernel."""

    bound: Bound
    findings: tuple[str, ...]
    """What was seen, in lines."""
    next_step: str
    """What to do about it."""


def analysed(node: Node, facts: TaskFacts, device: Mapping[str, str]) -> Analysis:
    """By what its verdict holds."""
    verdict = node.evaluation
    if verdict.measurement is None:
        return Analysis(bound=Bound.UNCLEAR, findings=(), next_step=_ADVICE[verdict.status])
    findings = [*_speed(verdict.measurement, facts), *_variants(verdict)]
    bound = _bound(verdict, facts)
    if verdict.aten and verdict.aten.share >= _OTHERS_SHARE:
        most = ", ".join(f"{name} {share:.0%}" for name, share in list(verdict.aten.operators.items())[:3])
        findings.append(f"{verdict.aten.share:.0%} of a call is PyTorch's own work: {most}")
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


def _variants(verdict: Evaluation) -> list[str]:
    main = verdict.fitness
    return [
        f"on the inputs {name} it is only {measured.speedup.value:.2f}x"
        for name, measured in verdict.variants.items()
        if measured.speedup is not None and measured.speedup.value * _UNEVEN < main
    ]


def _bound(verdict: Evaluation, facts: TaskFacts) -> Bound:
    assert verdict.measurement is not None
    if verdict.aten and verdict.aten.share > 0.5:
        return Bound.FOREIGN
    if verdict.measurement.kernel_seconds < _CALL_SECONDS:
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
