"""EVOLVE-BLOCK markers: in a file with markers, only the lines between them may change."""

from __future__ import annotations

import re

from kernelevolve.synthesis.answers.errors import AnswerError

_MARKER = re.compile(r"^\s*(?:#|//)\s*EVOLVE-BLOCK-(START|END)\b.*$")


def has_markers(source: str) -> bool:
    """Return whether a source has markers."""
    return any(_MARKER.match(line) for line in source.split("\n"))


def check_markers(source: str) -> None:
    """Check that the markers of a source come in pairs.

    Raises:
        AnswerError: A marker has no counterpart.
    """
    _split(source)


def keep_outside(before: str, after: str) -> None:
    """Check that a change leaves the markers and everything outside them as they were.

    Raises:
        AnswerError: The change touches a marker or a line outside them.
    """
    if not has_markers(before):
        return
    if _split(before) != _split(after):
        raise AnswerError(
            "only lines between EVOLVE-BLOCK-START and EVOLVE-BLOCK-END may change, and the markers must stay"
        )


def _split(source: str) -> list[list[str]]:
    """Return the lines outside the blocks, markers included: one list before each block and one after the last."""
    parts: list[list[str]] = [[]]
    inside = False
    for line in source.rstrip("\n").split("\n"):
        marker = _MARKER.match(line)
        if marker:
            if (marker[1] == "START") is inside:
                raise AnswerError(f"EVOLVE-BLOCK-{marker[1]} without its counterpart")
            inside = not inside
            if inside:
                parts[-1].append(line.rstrip())
                parts.append([])
                continue
        if not inside:
            parts[-1].append(line.rstrip())
    if inside:
        raise AnswerError("EVOLVE-BLOCK-START without its counterpart")
    return parts
