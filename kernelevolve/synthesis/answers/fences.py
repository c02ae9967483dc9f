"""Fenced code blocks of CommonMark (version 0.31, section 4.5), and the deviations that models write."""

from __future__ import annotations

import re
from dataclasses import dataclass

_OPEN = re.compile(r"^(?P<indent>[ \t]*(?:[-*>] )?[ \t]*)(?P<fence>`{3,}|~{3,})[ \t]*(?P<info>[^`\n]*)$")


@dataclass(frozen=True)
class Block:
    """The content of a fenced code block."""

    info: str
    """The first word after the opening fence, in lower case."""
    text: str
    closed: bool
    first: int
    """The index of its first line in the answer, from 0."""


def blocks(text: str) -> list[Block]:
    """Return all fenced blocks, in order. A block without a closing fence ends with the text."""
    lines = text.split("\n")
    found: list[Block] = []
    at = 0
    while at < len(lines):
        opening = _OPEN.match(lines[at])
        if opening is None:
            at += 1
            continue
        first = at + 1
        end = first
        while end < len(lines) and not _closes(lines[end], opening["fence"]):
            end += 1
        found.append(_block(lines[first:end], opening, closed=end < len(lines), first=first))
        at = end + 1
    return found


def widest(text: str) -> Block | None:
    """Return the block from the first opening fence to the last closing one, for a file that contains fences itself."""
    lines = text.split("\n")
    openings = [(i, m) for i, m in enumerate(map(_OPEN.match, lines)) if m]
    if not openings:
        return None
    first, opening = openings[0]
    ends = [i for i in range(first + 1, len(lines)) if _closes(lines[i], opening["fence"])]
    return _block(lines[first + 1 : ends[-1]], opening, closed=True, first=first + 1) if ends else None


def _closes(line: str, fence: str) -> bool:
    bare = line.strip()
    return len(bare) >= len(fence) and set(bare) == {fence[0]}


def _block(lines: list[str], opening: re.Match[str], *, closed: bool, first: int) -> Block:
    info = opening["info"].strip().lower()
    width = len(opening["indent"])
    inner = [line[width:] if not line[:width].strip() else line for line in lines] if width else lines
    word = re.split(r"[\s{:]", info, maxsplit=1)[0] if info else ""
    return Block(word, "\n".join(inner), closed, first)
