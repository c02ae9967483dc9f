"""Documents of the library: Markdown with YAML front matter, read into records.

A document looks like this:

    ---
    platform: nvidia
    languages: [triton]
    kind: guidance
    phase: refine
    level: intermediate
    bottleneck: memory
    operators: [matmul]
    sources:
      - "Triton documentation, triton.autotune: https://triton-lang.org/main/python-api/generated/triton.autotune.html"
    ---
    # Autotuning

    Text ...

`languages` and `operators` may be left out, and are then `[any]`. All other fields are required; the values that they may have stand in
`knowledge/vocabulary.py`. The first line of the body is the title.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from enum import StrEnum
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError

from kernelevolve.core.errors import UserError
from kernelevolve.core.record import Record
from knowledge.vocabulary import Bottleneck, CodeLanguage, Kind, Level, OperatorFamily, Phase, Platform

_FENCE = "---"
_TITLE = re.compile(r"\s*# +(\S.*?)[ #]*\n")
_SHOWN = 60
"""The most characters of a wrong value that a message repeats."""


class FrontMatter(Record):
    """The fields that a document declares about itself."""

    platform: Platform
    kind: Kind
    phase: Phase
    level: Level
    bottleneck: Bottleneck
    languages: tuple[CodeLanguage, ...] = Field(default=(CodeLanguage.ANY,), min_length=1)
    """The languages of the kernels that it helps to write."""
    operators: tuple[OperatorFamily, ...] = Field(default=(OperatorFamily.ANY,), min_length=1)
    """The families of operators that it is about."""
    sources: tuple[str, ...] = Field(min_length=1)
    """The publications and files that its claims can be checked against, as titles with addresses."""


class Document(FrontMatter):
    """A document: its place in the library, its front matter and its text."""

    id: str
    """The path below the library's root, with slashes and without `.md`: `guidance/triton/split_k`."""
    title: str
    body: str
    """The Markdown text after the front matter, with the title as its first line."""


def load_library() -> tuple[Document, ...]:
    """Return the documents that are shipped with this package, sorted by id."""
    return _sorted(
        parse_document(_text(item, name), name) for name, item in _shipped(files("knowledge") / "library", "")
    )


def read_folder(root: Path) -> tuple[Document, ...]:
    """Return the documents of a folder and its subfolders (`*.md`), sorted by id. Raises UserError as `read_document` does."""
    return _sorted(read_document(path, root) for path in root.rglob("*.md") if path.is_file())


def read_document(path: Path, root: Path) -> Document:
    """Return the document of a file.

    Args:
        path: The file.
        root: A folder above it. The document's id is the path from there.

    Raises:
        UserError: The file cannot be read, is not UTF-8, or `parse_document` refuses it.
    """
    return parse_document(_text(path, str(path)), path.relative_to(root).as_posix(), str(path))


def parse_document(text: str, name: str, label: str = "") -> Document:
    """Return the document of a text.

    Args:
        text: Front matter and body.
        name: The path below the library's root, with or without `.md`.
        label: The name of the text in messages; `name` if it is empty.

    Raises:
        UserError: The text has no front matter, the front matter is not valid, or the body has no title.
    """
    label = label or name
    declared, body = _split(text, label)
    try:
        front = FrontMatter.model_validate(declared)
    except ValidationError as error:
        raise UserError(f"{label}: {_reason(error)}") from error
    title = _TITLE.match(body + "\n")
    if title is None:
        raise UserError(f"{label}: the body has no title: begin it with a line '# Title'")
    return Document(**front.model_dump(), id=name.removesuffix(".md"), title=title[1], body=body.strip() + "\n")


def _sorted(documents: Iterator[Document]) -> tuple[Document, ...]:
    return tuple(sorted(documents, key=lambda document: document.id))


def _shipped(folder: Traversable, prefix: str) -> Iterator[tuple[str, Traversable]]:
    for item in folder.iterdir():
        if item.is_dir():
            yield from _shipped(item, f"{prefix}{item.name}/")
        elif item.name.endswith(".md"):
            yield prefix + item.name, item


def _text(item: Path | Traversable, label: str) -> str:
    try:
        return item.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{label} is not UTF-8 (byte {error.start}): save it as UTF-8") from error
    except OSError as error:
        raise UserError(f"cannot read {label}: {error.strerror}") from error


def _split(text: str, label: str) -> tuple[dict[str, Any], str]:
    """Return the fields of the front matter and the text after it."""
    lines = text.splitlines()
    if not lines or lines[0].rstrip() != _FENCE:
        required = [name for name, field in FrontMatter.model_fields.items() if field.is_required()]
        raise UserError(
            f"{label} has no front matter: begin it with a line '---', {', '.join(required)}, and a line '---'"
        )
    end = next((at for at, line in enumerate(lines[1:], 1) if line.rstrip() == _FENCE), None)
    if end is None:
        raise UserError(f"{label}: the front matter does not end: close it with a line '---'")
    try:
        declared = yaml.safe_load("\n".join(lines[1:end]))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 2 if error.problem_mark else 1
        raise UserError(f"{label}, line {line}: the front matter is no YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise UserError(f"{label}: the front matter is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(declared, dict) or not all(isinstance(key, str) for key in declared):
        raise UserError(f"{label}: the front matter is no list of fields: write each as 'name: value'")
    return declared, "\n".join(lines[end + 1 :])


def _reason(error: ValidationError) -> str:
    """Return the first mistake of a front matter in words, with what may stand there instead."""
    mistake = error.errors()[0]
    field = str(mistake["loc"][0])
    value = _short(mistake["input"])
    match mistake["type"]:
        case "missing":
            return f"the front matter lacks '{field}'{_choices(field)}"
        case "extra_forbidden":
            near = get_close_matches(field, FrontMatter.model_fields, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"the fields are {', '.join(FrontMatter.model_fields)}"
            return f"unknown field '{field}': {hint}"
        case "enum":
            return f"{field} is '{value}'{_choices(field)}"
        case "tuple_type":
            return f"{field} is '{value}': write a list, such as [{value}]"
        case "too_short":
            return f"{field} is empty{_choices(field) or ': name what the claims can be checked against'}"
        case _:
            return f"{field} is '{value}': {mistake['msg']}"


def _choices(field: str) -> str:
    """Return the values that a field may have, as the end of a message; empty if it takes any text."""
    kind = {
        "platform": Platform,
        "kind": Kind,
        "phase": Phase,
        "level": Level,
        "bottleneck": Bottleneck,
        "languages": CodeLanguage,
        "operators": OperatorFamily,
    }.get(field)
    return f": it is one of {', '.join(_values(kind))}" if kind else ""


def _values(kind: type[StrEnum]) -> list[str]:
    return [str(member.value) for member in kind]


def _short(value: object) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
