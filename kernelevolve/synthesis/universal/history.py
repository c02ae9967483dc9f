"""What of the search enters a prompt: what failed, newest first, what worked, best first, and the code of few."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from devices.languages import fold
from kernelevolve.core.graph import Node
from kernelevolve.synthesis.base import Parent
from kernelevolve.synthesis.universal.views import ExampleView, outcome

_FAILED, _TRIED, _EXAMPLES = 24, 24, 3
"""Lines, and kernels, at most."""
_LINE = 240
"""Characters."""


@dataclass(frozen=True)
class Remembered:
    """What a prompt may say of the search."""

    failed: tuple[str, ...]
    """Of strategies that failed, the newest first: a line for each, in place of their code; those that failed alike share one."""
    tried: tuple[str, ...]
    """Of correct kernels, the best first."""
    examples: tuple[ExampleView, ...]
    """The best ones, with their code."""


def remembered(history: Sequence[Parent]) -> Remembered:
    """One pass over all of it: there may be ten thousand."""
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
    found: dict[str, int] = {}
    for node in nodes:
        diagnosis = node.evaluation.diagnosis
        summary = diagnosis.summary if diagnosis else ""
        line = _cut(f"{node.note or node.operator}: {outcome(node)}" + (f", {summary}" if summary else ""))
        found[line] = found.get(line, 0) + 1
    lines = [line + (f" ({count} times)" if count > 1 else "") for line, count in found.items()]
    return tuple(lines[:_FAILED])


def _tried(node: Node) -> str:
    return _cut(f"{outcome(node)}: {node.note or node.operator}")


def _cut(line: str) -> str:
    line = " ".join(line.split())
    return line if len(line) <= _LINE else line[: _LINE - 3] + "..."
