"""Parsing of unified diffs. The line numbers that models write are often wrong and serve only as hints."""

from __future__ import annotations

import re

from kernelevolve.synthesis.answers.errors import AnswerError
from kernelevolve.synthesis.answers.lines import Edit

_HUNK = re.compile(r"^@@+(?: -(\d+)(?:,\d+)? \+\d+(?:,\d+)? @@+.*|.*)$")
_FILE = re.compile(r"^(--- |\+\+\+ |diff |index |new file mode|deleted file mode|similarity |rename )")
_NEW_FILE = re.compile(r"^\+\+\+ (?!/dev/null)\S+", re.MULTILINE)


def is_diff(text: str) -> bool:
    """Return whether the text has a hunk that adds or removes a line."""
    lines = text.split("\n")
    starts = [i for i, line in enumerate(lines) if _HUNK.match(line)]
    return any(line[:1] in ("+", "-") and not _FILE.match(line) for i in starts for line in lines[i + 1 : i + 200])


def read_diff(text: str) -> list[Edit]:
    """Return one edit for each hunk.

    Raises:
        AnswerError: The diff changes several files or nothing, or has lines that do not belong to a diff.
    """
    if len(set(_NEW_FILE.findall(text))) > 1:
        raise AnswerError("the diff changes several files: there is one")
    found: list[Edit] = []
    near: int | None = None
    old: list[str] = []
    new: list[str] = []
    inside = False

    def close() -> None:
        while old and new and not old[-1] and not new[-1]:
            old.pop()  # Empty lines after the hunk belong to the text around it.
            new.pop()
        if old != new:
            found.append(Edit(tuple(old), tuple(new), near))

    for line in text.split("\n"):
        hunk = _HUNK.match(line)
        if hunk or _FILE.match(line):
            if inside:
                close()
            old, new, inside = [], [], hunk is not None
            near = int(hunk[1]) - 1 if hunk and hunk[1] else None
        elif not inside or line.startswith("\\"):
            continue
        elif line.startswith("-"):
            old.append(line[1:])
        elif line.startswith("+"):
            new.append(line[1:])
        elif line.startswith(" ") or not line:
            old.append(line[1:])
            new.append(line[1:])
        elif re.match(r"^[ \t]*(`{3,}|~{3,})", line):
            close()
            old, new, inside = [], [], False
        else:
            raise AnswerError(f"a line of the diff begins with neither a space, + nor -: {line[:80]!r}")
    if inside:
        close()
    if not found:
        raise AnswerError("the diff changes nothing")
    return found
