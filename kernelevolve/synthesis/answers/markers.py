"""EVOLVE-BLOCK markers: of a file that has them, only what stands between them may change."""

from __future__ import annotations

import re

from kernelevolve.synthesis.answers.errors import AnswerError

_MARKER = re.compile(r"^\s*(?:#|//)\s*EVOLVE-BLOCK-(START|END)\b.*$")


def has_markers(source: str) -> bool:
    """Whether anything is marked."""
    return any(_MARKER.match(line) for line in source.split("\n"))


def check_markers(source: str) -> None:
    """Raises AnswerError where they are not in pairs."""
    _split(source)


def keep_outside(before: str, after: str) -> None:
    """Raises AnswerError where a change touches what is not between markers, or the markers."""
    if not has_markers(before):
        return
    if _split(before) != _split(after):
        raise AnswerError(
            "only lines between EVOLVE-BLOCK-START and EVOLVE-BLOCK-END may change, and the markers must stay"
        )


def _split(source: str) -> list[list[str]]:
    """The lines outside, markers included, as one list before each block and one behind the last."""
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
