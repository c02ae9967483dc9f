"""Extraction of a whole file from an answer."""

from __future__ import annotations

import ast
import html
import json
import re
from collections.abc import Iterator

from kernelevolve.synthesis.answers.errors import AnswerError
from kernelevolve.synthesis.answers.fences import Block, blocks, widest

CLASS = "ModelNew"
_PYTHON = {"", "python", "py", "python3", "triton", "pytorch", "torch", "text", "code"}
_TAG = re.compile(r"<(code|kernel|answer|file|python|source|solution)\b[^>\n]*>\n?(.*?)</\1\s*>", re.DOTALL)
_START = re.compile(r"^(import |from \w|\"\"\"|'''|#|@|class |def |[A-Z_]+ = )")
_STARTS, _ENDS = 8, 16
"""The numbers of first and last lines that are tried for a file without fences or tags."""
_DEFINED = re.compile(rf"^class {CLASS}\b|^{CLASS}\s*=", re.MULTILINE)


def read_whole(text: str) -> str:
    """Return the last file in the text that parses as Python and defines the class `ModelNew`.

    Raises:
        AnswerError: There is no such file; the message says what is missing.
    """
    found = blocks(text)
    candidates = [*_candidates(text, found)]
    for source in candidates:
        if _DEFINED.search(source) and _parses(source):
            return source.strip("\n") + "\n"
    if found and not found[-1].closed and (_DEFINED.search(found[-1].text) or len(found) == 1):
        raise AnswerError("the answer is cut off: its last block of code has no end; give a shorter file, or edits")
    named = [source for source in candidates if _DEFINED.search(source)]
    if named:
        raise AnswerError(_why(named[0]))
    others = sorted({block.info for block in found} - _PYTHON)
    if others:
        raise AnswerError(
            f"a file in {', '.join(others)} alone does not run: answer with one Python file that defines class {CLASS}"
        )
    raise AnswerError(f"there is no file that defines class {CLASS}")


def _candidates(text: str, found: list[Block]) -> Iterator[str]:
    """Yield possible files, the likely ones first, and the last block first, since models correct themselves."""
    for block in reversed(found):
        if block.info in _PYTHON and block.closed:
            yield block.text
            yield html.unescape(block.text)
    for block in reversed(found):
        if block.info in ("json", *_PYTHON):
            yield from _from_json(block.text)
    whole = widest(text)
    if whole is not None:
        yield whole.text
    for match in reversed(list(_TAG.finditer(text))):
        yield match[2]
        yield html.unescape(match[2])
    yield from _from_json(text)
    if not found:
        yield text
        yield html.unescape(text)
        yield from _unmarked(text)


def _from_json(text: str) -> Iterator[str]:
    try:
        held = json.loads(text)
    except ValueError:
        return
    values = held.values() if isinstance(held, dict) else held if isinstance(held, list) else (held,)
    yield from (value for value in values if isinstance(value, str) and CLASS in value)


def _unmarked(text: str) -> Iterator[str]:
    """Yield parts of a text that may be a file with prose before and after it."""
    lines = text.split("\n")
    starts = [i for i, line in enumerate(lines) if _START.match(line)][:_STARTS]
    ends = [i for i, line in enumerate(lines) if not line.strip()] + [len(lines)]
    for start in starts:
        for end in reversed(ends[-_ENDS:]):
            if end > start:
                source = "\n".join(lines[start:end])
                if _DEFINED.search(source):
                    yield source


def _parses(source: str) -> bool:
    try:
        ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _why(source: str) -> str:
    try:
        ast.parse(source)
    except SyntaxError as error:
        line = (error.text or "").rstrip("\n")
        return f"the file is no valid Python: {error.msg} in line {error.lineno}: {line.strip()[:120]}"
    except (ValueError, RecursionError, MemoryError) as error:
        return f"the file cannot be read: {error}"
    return "the file cannot be read"
