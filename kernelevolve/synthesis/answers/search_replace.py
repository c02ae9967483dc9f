"""Parsing of SEARCH/REPLACE blocks."""

from __future__ import annotations

import re

from kernelevolve.synthesis.answers.errors import AnswerError
from kernelevolve.synthesis.answers.lines import Edit

_BEGIN = re.compile(r"^[ \t]*<{5,9} ?SEARCH\b.*$", re.IGNORECASE)
_MIDDLE = re.compile(r"^[ \t]*={5,9}[ \t]*$")
_END = re.compile(r"^[ \t]*>{5,9} ?REPLACE\b.*$", re.IGNORECASE)
_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})[\w+-]*[ \t]*$")


def is_search_replace(text: str) -> bool:
    """Return whether the text has the first line of a block."""
    return any(_BEGIN.match(line) for line in text.split("\n"))


def read_blocks(text: str) -> list[Edit]:
    """Return the edits of all blocks, in order, fenced or not.

    Raises:
        AnswerError: A block is incomplete.
    """
    found: list[Edit] = []
    old: list[str] = []
    new: list[str] = []
    part: list[str] | None = None
    for line in text.split("\n"):
        if _BEGIN.match(line):
            if part is not None:
                raise AnswerError(f"block {len(found) + 1} begins anew before its >>>>>>> REPLACE")
            old, new = [], []
            part = old
        elif part is old and part is not None and _MIDDLE.match(line):
            part = new
        elif part is not None and _END.match(line):
            if part is old:
                raise AnswerError(f"block {len(found) + 1} has no ======= between the old and the new lines")
            comes = _unfenced(new)
            found.append(Edit(_unfenced(old), comes if any(line.strip() for line in comes) else ()))
            part = None
        elif part is not None:
            part.append(line)
    if part is not None:
        raise AnswerError(f"block {len(found) + 1} is cut off: it has no >>>>>>> REPLACE")
    return found


def _unfenced(lines: list[str]) -> tuple[str, ...]:
    """Return the lines without a fence that encloses all of them."""
    if len(lines) >= 2 and _FENCE.match(lines[0]) and _FENCE.match(lines[-1]):
        return tuple(lines[1:-1])
    return tuple(lines)
