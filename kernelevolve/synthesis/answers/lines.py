"""Edits of a source by quoted lines, which models do not always quote exactly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kernelevolve.synthesis.answers.errors import AnswerError

_SHOWN = 6
"""The number of quoted lines that an error message shows."""


@dataclass(frozen=True)
class Edit:
    """A replacement of consecutive lines of a file by others."""

    old: tuple[str, ...]
    new: tuple[str, ...]
    near: int | None = None
    """The index of the line where `old` is said to begin, from 0; None if the answer does not say."""


def applied(edits: Sequence[Edit], source: str) -> str:
    """Apply edits to a source, in order.

    Raises:
        AnswerError: The old lines of an edit are not in the source, or stand there several times.
    """
    lines = source.split("\n")
    for number, edit in enumerate(edits, 1):
        name = f"block {number} of {len(edits)}" if len(edits) > 1 else "the block"
        if not any(line.strip() for line in edit.old):
            raise AnswerError(f"{name} says nothing of where it belongs: quote the lines that it replaces")
        # Models often put empty lines around a quote that are not in the file.
        for one in (edit, Edit(_trimmed(edit.old), _trimmed(edit.new), edit.near)):
            placed = _place(one, lines, name)
            if placed is not None:
                at, new = placed
                lines[at : at + len(one.old)] = new
                break
        else:
            quoted = "\n".join(edit.old[:_SHOWN]) + ("\n..." if len(edit.old) > _SHOWN else "")
            raise AnswerError(
                f"{name} replaces lines that are not in the file; quote them exactly as they stand:\n{quoted}"
            )
    return "\n".join(lines)


def _place(edit: Edit, lines: Sequence[str], name: str) -> tuple[int, tuple[str, ...]] | None:
    """Return the index of the first replaced line and the new lines, indented to fit; None if there is no match."""
    for same in (str, str.rstrip):
        found = _found(edit.old, lines, same)
        if found:
            return _chosen(edit, found, name), edit.new
    found = _found(edit.old, lines, str.strip)
    shifted = [at for at in found if _shift(edit.old, lines[at : at + len(edit.old)]) is not None]
    if not shifted:
        return None
    at = _chosen(edit, shifted, name)
    return at, _moved(edit.new, _shift(edit.old, lines[at : at + len(edit.old)]) or 0)


def _trimmed(lines: Sequence[str]) -> tuple[str, ...]:
    """Return the lines without empty ones at both ends."""
    full = [i for i, line in enumerate(lines) if line.strip()]
    return tuple(lines[full[0] : full[-1] + 1]) if full else ()


def _found(old: Sequence[str], lines: Sequence[str], same: Callable[[str], str]) -> list[int]:
    wanted, there = [same(line) for line in old], [same(line) for line in lines]
    return [at for at in range(len(there) - len(wanted) + 1) if there[at : at + len(wanted)] == wanted]


def _chosen(edit: Edit, found: Sequence[int], name: str) -> int:
    if len(found) == 1:
        return found[0]
    if edit.near is not None:
        near = edit.near
        first, second = sorted(found, key=lambda at: abs(at - near))[:2]
        if abs(first - near) < abs(second - near):
            return first
    raise AnswerError(f"{name} replaces lines that stand {len(found)} times in the file: quote more lines around them")


def _shift(old: Sequence[str], there: Sequence[str]) -> int | None:
    """Return the columns by which the file indents all lines more than the quote; None if lines differ in that."""
    shifts = {_indent(b) - _indent(a) for a, b in zip(old, there, strict=True) if a.strip()}
    return shifts.pop() if len(shifts) == 1 else None


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _moved(new: Sequence[str], shift: int) -> tuple[str, ...]:
    return tuple(
        line if not line.strip() else " " * shift + line if shift >= 0 else line[min(-shift, _indent(line)) :]
        for line in new
    )
