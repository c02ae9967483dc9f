"""Shortening of compiler messages to the first errors, each with its line and caret, without warnings, paths and template noise.

It reads the output of gcc, clang, nvcc and the GNU assembler and linker with LC_ALL=C.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

_ERRORS, _LINES, _WIDTH = 5, 40, 200
"""The most errors, lines and characters per line that are shown."""
_CONTEXT, _NOTES = 4, 2
"""The most lines of context and notes of one error."""

_LOCATED = re.compile(
    r"(?P<file>[^\s:()][^:()]*)(?::(?P<line>\d+)(?P<column>:\d+)?|\((?P<cuda>\d+)\)): "
    r"(?P<kind>(?:fatal |internal compiler |catastrophic )?[Ee]rror|warning|note|remark|sorry, unimplemented)[^:]*: (?P<text>.*)"
)
_UNLOCATED = re.compile(
    r"(?:\S+: )?(?:(?P<kind>(?:fatal |internal compiler )?error)|ptxas (?:error|fatal)) *: (?P<text>.*)"
    r"|(?:\S+: )?(?P<memory>virtual memory exhausted.*|out of memory.*)"
)
_LINKED = re.compile(r".*?\b(?P<text>(?:undefined (?:reference|symbol)|multiple definition)\W.*)")
_FROM = re.compile(r"(?P<file>[^\s:]+):(?P<line>\d+)(?::\d+)?: +required from ")
_PREFACE = re.compile(r"In file included from|.*: (?:In|At) |.*: +(?:recursively )?required (?:from|by) | +from ")
_MARGIN = re.compile(r"\s*\d*\s*\| ?")
_PATH = re.compile(r"(?<![\w/])/(?:[\w.+@-]+/)+([\w.+-]+)")
_NOISE = (
    (re.compile(r"std::__cxx11::basic_string<char>"), "std::string"),
    (re.compile(r"__gnu_cxx::__ops::|__gnu_cxx::|std::__cxx11::"), ""),
    (re.compile(r", std::(?:allocator|char_traits|less)<(?:[^<>]|<[^<>]*>)*> ?(?=>)"), ""),
    (re.compile(r" \[with [^\]]{60,}\]"), ""),
    (re.compile(r" \[-W[\w=-]+\]$"), ""),
)


@dataclass
class _Message:
    """One message of a compiler."""

    where: str
    line: int
    """The line in the kernel's file, or 0 if the message is about another file."""
    kind: str
    text: str
    caller: int = 0
    """The line of the kernel's file that uses the template that the message is about, or 0."""
    context: list[str] = field(default_factory=list)
    notes: list[_Message] = field(default_factory=list)

    @property
    def head(self) -> str:
        parts = (self.where, self.kind.lower(), _short(self.text))
        return ": ".join(part for part in parts if part)[:_WIDTH]


def cut_messages(text: str, source: str, file: str) -> tuple[str, str]:
    """Shorten the output of a compiler.

    Args:
        text: The output.
        source: The content of the compiled file.
        file: The name of the compiled file, as it was passed to the compiler.

    Returns:
        The first error in one line, and the first few errors with their source in at most 40 lines. Both are empty if no error is found.
    """
    errors = _distinct(_errors(text, file))
    lines = source.split("\n")
    shown: list[str] = []
    for number, error in enumerate(errors):
        block = list(_shown(error, lines, file))
        if number == _ERRORS or len(shown) + len(block) >= _LINES:
            shown.append(f"... and {len(errors) - number} more errors")
            break
        shown += block
    return (errors[0].head if errors else ""), "\n".join(shown)


def _errors(text: str, file: str) -> Iterator[_Message]:
    """Yield the errors in the order of the text, each with the notes about the kernel's own lines that follow it."""
    error: _Message | None = None
    current: _Message | None = None
    caller = 0
    for line in text.split("\n"):
        if found := _LOCATED.match(line):
            message = _located(found, file, caller)
            if message.kind == "note":
                if error and message.line and len(error.notes) < _NOTES:
                    error.notes.append(message)
            elif message.kind not in {"warning", "remark"}:
                if error:
                    yield error
                error = message
            current, caller = message, 0
        elif found := _LINKED.match(line) or _UNLOCATED.match(line):
            if error:
                yield error
            groups = found.groupdict()
            words = groups["text"] or groups.get("memory") or line
            error, current = _Message("", 0, groups.get("kind") or "", words), None
        elif found := _FROM.match(line):
            if found["file"] == file:
                caller = int(found["line"])
            current = None
        elif _PREFACE.match(line) or not line.strip():
            current = None
        elif current:
            current.context.append(line)
    if error:
        yield error


def _located(found: re.Match[str], file: str, caller: int) -> _Message:
    number = int(found["line"] or found["cuda"])
    own = found["file"] == file
    name = found["file"].rsplit("/", 1)[-1]
    where = f"{name}:{number}{found['column'] or ''}"
    return _Message(where, number if own else 0, found["kind"], found["text"], caller)


def _distinct(errors: Iterable[_Message]) -> list[_Message]:
    """Return one error for each cause. A wrong line that uses a template, or a missing function, gives many errors."""
    kept: dict[object, _Message] = {}
    for error in errors:
        key = (error.where, error.text) if error.line or not error.caller else error.caller
        kept.setdefault(key, error)
    # The summary lines of linkers and compilers add nothing to the errors themselves.
    said = [e for e in kept.values() if not re.match(r"ld returned|linker command failed|\d+ errors? ", e.text)]
    return said or list(kept.values())


def _shown(error: _Message, lines: list[str], file: str) -> Iterator[str]:
    yield error.head
    if re.match(r"expected .* before", error.text):
        # The missing token often belongs at the end of the line above.
        yield from _line(lines, error.line - 1)
    yield from _window(error.context[:_CONTEXT]) or _line(lines, error.line or _naming(error, lines))
    if error.caller:
        yield f"required from {file}:{error.caller}"
        yield from _line(lines, error.caller)
    for note in error.notes:
        yield note.head
        yield from _window(note.context[:_CONTEXT])


def _line(lines: list[str], number: int) -> list[str]:
    return [f"{number:5} | {lines[number - 1]}"[:_WIDTH]] if 0 < number <= len(lines) else []


def _naming(error: _Message, lines: list[str]) -> int:
    """Return the number of the first line that names the symbol that the linker misses, or 0."""
    name = re.search(r"[`'](?:[^`']*::)?(\w+)", error.text)
    if error.where or not name:
        return 0
    return next((n for n, line in enumerate(lines, 1) if re.search(rf"\b{name[1]}\b", line)), 0)


def _window(context: list[str]) -> list[str]:
    """Return lines of context. Long lines are cut around the caret."""
    longest = max(map(len, context), default=0)
    if longest <= _WIDTH:
        return [line.rstrip() for line in context]
    carets = [line.find("^") for line in context if line.strip(" |~^")[:1] == ""]
    start = max(0, max(carets, default=0) - _WIDTH // 2)
    cut = []
    for line in context:
        margin = _MARGIN.match(line)
        kept = margin.end() if margin else 0
        cut.append((line[:kept] + line[kept + start :])[:_WIDTH].rstrip())
    return cut


def _short(text: str) -> str:
    for noise, instead in _NOISE:
        text = noise.sub(instead, text)
    return _PATH.sub(r"\1", text).strip()
