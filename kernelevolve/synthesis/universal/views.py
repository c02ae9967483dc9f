"""The records that templates see."""

from __future__ import annotations

from devices.languages import fold
from kernelevolve.core.graph import Node
from kernelevolve.core.record import Record
from kernelevolve.synthesis.base import Parent
from kernelevolve.synthesis.universal.analysis import Analysis

_DETAILS = 4000
"""The greatest number of characters of a diagnosis."""


class ParentView(Record):
    """A kernel that the model is asked to change."""

    source: str
    """The source, with the code that loads the kernel folded away."""
    outcome: str
    """Its speedup, or how it failed."""
    correct: bool
    note: str
    """The note on the change that made it."""
    summary: str
    """The summary of its diagnosis; empty if it is correct."""
    details: str
    """The details of its diagnosis, shortened; empty if it is correct."""
    analysis: Analysis


class ExampleView(Record):
    """Another kernel of the search, as an example."""

    outcome: str
    note: str
    source: str


class DocumentView(Record):
    """A document about the hardware or the language."""

    title: str
    text: str


def outcome(node: Node) -> str:
    """Return the speedup of a node, or how it failed, in a few words."""
    speedup = node.evaluation.speedup
    if node.evaluation.rough:
        return f"about {node.fitness:.1f}x"
    if speedup is None:
        return node.evaluation.status.value.replace("_", " ")
    return f"{speedup.value:.2f}x ({speedup.low:.2f} to {speedup.high:.2f})"


def parent_view(parent: Parent, analysis: Analysis, details: int = _DETAILS) -> ParentView:
    """Return the view of a parent.

    Args:
        parent: The node and its kernel.
        analysis: The advice on it.
        details: The greatest number of characters of its diagnosis; the middle is cut out.
    """
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
