"""The part of the search that enters a prompt: the newest failures, the best kernels, and the code of a few of them."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from devices.languages import fold
from kernelevolve.core.graph import Node
from kernelevolve.synthesis.base import Parent
from kernelevolve.synthesis.universal.views import ExampleView, outcome

_FAILED, _TRIED, _EXAMPLES = 24, 24, 3
"""The greatest numbers of lines on failures, of lines on correct kernels, and of kernels with their code."""
_LINE = 240
"""The greatest number of characters of a line."""


@dataclass(frozen=True)
class Remembered:
    """The facts about the search that a prompt may hold."""

    failed: tuple[str, ...]
    """One line for each failure, the newest first. Nodes that failed in the same way share a line."""
    tried: tuple[str, ...]
    """One line for each correct kernel, the best first."""
    examples: tuple[ExampleView, ...]
    """The best correct kernels, with their code."""


def remembered(history: Sequence[Parent]) -> Remembered:
    """Select what a prompt may say of a history. One pass over it suffices, since it may hold ten thousand nodes."""
    good: list[tuple[float, int]] = []
    bad: list[tuple[float, int]] = []
    for place, parent in enumerate(history):
        fitness = parent.node.fitness
        (good if fitness else bad).append((fitness or parent.node.seconds, place))
    best = [history[place] for _, place in heapq.nlargest(_TRIED, good)]
    newest = [history[place].node for _, place in heapq.nlargest(4 * _FAILED, bad)]
    return Remembered(
        failed=_failed(newest),
        tried=tuple(dict.fromkeys(_tried(parent.node) for parent in best)),
        examples=tuple(
            ExampleView(outcome=outcome(p.node), note=p.node.note, source=fold(p.kernel.source).rstrip())
            for p in best[:_EXAMPLES]
        ),
    )


def _failed(nodes: Sequence[Node]) -> tuple[str, ...]:
    counts: dict[str, int] = {}
    for node in nodes:
        diagnosis = node.evaluation.diagnosis
        summary = diagnosis.summary if diagnosis else ""
        line = _cut(f"{node.note or node.operator}: {outcome(node)}" + (f", {summary}" if summary else ""))
        counts[line] = counts.get(line, 0) + 1
    lines = [line + (f" ({count} times)" if count > 1 else "") for line, count in counts.items()]
    return tuple(lines[:_FAILED])


def _tried(node: Node) -> str:
    return _cut(f"{outcome(node)}: {node.note or node.operator}")


def _cut(line: str) -> str:
    line = " ".join(line.split())
    return line if len(line) <= _LINE else line[: _LINE - 3] + "..."
