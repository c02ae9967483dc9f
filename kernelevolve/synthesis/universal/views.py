"""What templates see of nodes."""

from __future__ import annotations

from devices.languages import fold
from kernelevolve.core.graph import Node
from kernelevolve.core.record import Record
from kernelevolve.synthesis.base import Parent
from kernelevolve.synthesis.universal.analysis import Analysis

_DETAILS = 4000
"""Characters of a diagnosis."""


class ParentView(Record):
    """A kernel that is to be changed."""

    source: str
    """With its loader folded."""
    outcome: str
    """Its speedup, or how it failed."""
    correct: bool
    note: str
    summary: str
    """Of its diagnosis; nothing where it is correct."""
    details: str
    analysis: Analysis


class ExampleView(Record):
    """Another kernel of the search."""

    outcome: str
    note: str
    source: str


class DocumentView(Record):
    """A piece of what is known about the hardware or the language."""

    title: str
    text: str


def outcome(node: Node) -> str:
    """In a few words."""
    speedup = node.evaluation.speedup
    if node.evaluation.rough:
        return f"about {node.fitness:.1f}x"
    if speedup is None:
        return node.evaluation.status.value.replace("_", " ")
    return f"{speedup.value:.2f}x ({speedup.low:.2f} to {speedup.high:.2f})"


def parent_view(parent: Parent, analysis: Analysis, details: int = _DETAILS) -> ParentView:
    """`details`: characters of its diagnosis, the first and the last of them."""
    diagnosis = parent.node.evaluation.diagnosis
    return ParentView(
        source=fold(parent.kernel.source).rstrip(),
        outcome=outcome(parent.node),
        correct=diagnosis is None,
        note=parent.node.note,
        summary=diagnosis.summary if diagnosis else "",
        details=_cut(diagnosis.details, details) if diagnosis else "",
        analysis=analysis,
    )


def _cut(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    return f"{text[: most * 2 // 3].rstrip()}\n...\n{text[len(text) - most // 3 :].lstrip()}" if most else ""
