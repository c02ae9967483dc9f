"""What of the search enters a prompt: what failed, newest first, what worked, best first, and the code of few."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from kernelevolve.core.graph import Node
from kernelevolve.synthesis.base import Parent
from kernelevolve.synthesis.universal.folding import folded
from kernelevolve.synthesis.universal.views import ExampleView, outcome

_FAILED, _TRIED, _EXAMPLES = 24, 24, 3
"""Lines, and kernels, at most."""
_LINE = 240
"""Characters."""


def failed_lines(history: Sequence[Parent]) -> list[str]:
    """Of strategies that failed, the newest first: a line for each, in place of their code; those that failed alike share one."""
    nodes = (parent.node for parent in history if not parent.node.fitness)
    found: dict[str, int] = {}
    for node in heapq.nlargest(4 * _FAILED, nodes, key=lambda node: (node.seconds, node.step)):
        diagnosis = node.evaluation.diagnosis
        summary = diagnosis.summary if diagnosis else ""
        line = _cut(f"{node.note or node.operator}: {outcome(node)}" + (f", {summary}" if summary else ""))
        found[line] = found.get(line, 0) + 1
    lines = [line + (f" ({count} times)" if count > 1 else "") for line, count in found.items()]
    return lines[:_FAILED]


def tried_lines(history: Sequence[Parent]) -> list[str]:
    """Of correct kernels, the best first."""
    return list(dict.fromkeys(_tried(parent.node) for parent in _best(history, _TRIED)))


def examples(history: Sequence[Parent]) -> list[ExampleView]:
    """The best ones, with their code."""
    return [
        ExampleView(outcome=outcome(p.node), note=p.node.note, source=folded(p.kernel.source).rstrip())
        for p in _best(history, _EXAMPLES)
    ]


def _best(history: Sequence[Parent], count: int) -> list[Parent]:
    good = (parent for parent in history if parent.node.fitness)
    return heapq.nlargest(count, good, key=lambda parent: parent.node.fitness)


def _tried(node: Node) -> str:
    return _cut(f"{outcome(node)}: {node.note or node.operator}")


def _cut(line: str) -> str:
    line = " ".join(line.split())
    return line if len(line) <= _LINE else line[: _LINE - 3] + "..."
