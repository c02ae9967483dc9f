"""The tunable values of a Python file: its own constants, and those of the C++ and the compiler flags in its strings."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import replace

from devices.languages import get_language
from kernelevolve.synthesis.builtin.retuning.cpp_sites import cpp_sites, flag_site
from kernelevolve.synthesis.builtin.retuning.sites import (
    Site,
    constant_domain,
    is_switch_name,
    is_tile_name,
    sizes_around,
)

_LAUNCH_OPTIONS = frozenset({"num_warps", "num_stages"})
_LOOKS_LIKE_CPP = re.compile(r"^\s*#\s*(?:include|pragma|define)\b|extern\s+\"C|\btemplate\s*<", re.MULTILINE)
_ESCAPE = re.compile(
    r"\\(?:\r\n|[0-7]{1,3}|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|N\{[^}]*\}|.)|\r\n|.", re.DOTALL
)


def python_sites(source: str, language: str) -> list[Site]:
    """Return the sites of a file, in the order of the text. Raises SyntaxError or ValueError if it is no Python."""
    tree = ast.parse(source)
    reader = _Reader(source, language)
    reader.knobs_are_read = any(
        isinstance(node, ast.Name) and node.id == "KNOBS" and isinstance(node.ctx, ast.Load) for node in ast.walk(tree)
    )
    for node in ast.walk(tree):
        reader.read(node)
    return sorted({(s.start, s.end): s for s in reader.found}.values(), key=lambda site: site.start)


class _Reader:
    def __init__(self, source: str, language: str) -> None:
        self.found: list[Site] = []
        self.knobs_are_read = False
        self._source = source
        self._language = get_language(language)
        lines = re.split(r"(?<=\n)|(?<=\r)(?!\n)", source)
        self._lines = lines
        self._starts = [0]
        for line in lines:
            self._starts.append(self._starts[-1] + len(line))

    def read(self, node: ast.AST) -> None:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if node.value is not None and len(targets) == 1 and isinstance(targets[0], ast.Name):
                self._assigned(targets[0].id, node.value)
        elif isinstance(node, ast.Call):
            for keyword in node.keywords:
                if keyword.arg is not None:
                    self._constant(keyword.arg, "argument", keyword.value)
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and isinstance(key.value, str):
                    self._constant(key.value, "entry", value)
        elif isinstance(node, ast.arguments):
            positional = [*node.posonlyargs, *node.args]
            for argument, default in zip(reversed(positional), reversed(node.defaults), strict=False):
                self._constant(argument.arg, "default", default)
            for argument, given in zip(node.kwonlyargs, node.kw_defaults, strict=True):
                if given is not None:
                    self._constant(argument.arg, "default", given)

    def _assigned(self, name: str, value: ast.expr) -> None:
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            if self._language.embeds_cpp and _LOOKS_LIKE_CPP.search(value.value):
                self._text(value)
        elif isinstance(value, ast.List | ast.Tuple):
            strings = [e for e in value.elts if isinstance(e, ast.Constant) and isinstance(e.value, str)]
            if strings and any(str(e.value).startswith("-") for e in strings):
                for element in strings:
                    self._flag(element)
        elif name == "KNOBS" and isinstance(value, ast.Dict):
            for key, entry in zip(value.keys, value.values, strict=True):
                if isinstance(key, ast.Constant) and isinstance(key.value, str):
                    self._declared(key.value, entry)
        else:
            self._constant(name, "constant", value)

    def _constant(self, name: str, kind: str, node: ast.expr) -> None:
        """Add the site of a constant. Lower-case names other than launch options are parameters of an API or of a model."""
        if isinstance(node, ast.Constant) and isinstance(node.value, bool | int):
            launch = name in _LAUNCH_OPTIONS and self._language.has_launch_options
            if launch or (name == name.upper() and (is_tile_name(name) or is_switch_name(name))):
                domain = constant_domain(name, node.value)
                if domain:
                    start, end = self._span(node)
                    self.found.append(Site(name, kind, node.value, start, end, domain))

    def _declared(self, name: str, node: ast.expr) -> None:
        """Add the site of an entry of `KNOBS`, which is a knob if the file reads `KNOBS`."""
        if self.knobs_are_read and isinstance(node, ast.Constant) and isinstance(node.value, bool | int):
            value = node.value
            if isinstance(value, bool) or value >= 0:
                domain = (False, True) if isinstance(value, bool) else sizes_around(value)
                start, end = self._span(node)
                self.found.append(Site(name, "declared", value, start, end, domain))

    def _flag(self, node: ast.Constant) -> None:
        text, spans = self._decode(node)
        site = flag_site(text)
        if site is not None and spans:
            self.found.append(replace(site, start=spans[0][0], end=spans[-1][1]))

    def _text(self, node: ast.Constant) -> None:
        text, spans = self._decode(node)
        for site in cpp_sites(text):
            start, end = spans[site.start][0], spans[site.end - 1][1]
            if self._source[start:end] == text[site.start : site.end]:
                self.found.append(replace(site, start=start, end=end))

    def _span(self, node: ast.expr) -> tuple[int, int]:
        last_line, last_column = node.end_lineno or node.lineno, node.end_col_offset or 0
        return self._offset(node.lineno, node.col_offset), self._offset(last_line, last_column)

    def _offset(self, line: int, utf8_column: int) -> int:
        return self._starts[line - 1] + len(self._lines[line - 1].encode()[:utf8_column].decode())

    def _decode(self, node: ast.Constant) -> tuple[str, list[tuple[int, int]]]:
        """Return the text of a string literal, or of several in a row, and the range of the file behind each of its characters."""
        start, end = self._span(node)
        text: list[str] = []
        spans: list[tuple[int, int]] = []
        for at, literal in self._literals(start, end):
            opened = re.match(r"([A-Za-z]*)('''|\"\"\"|'|\")", literal)
            if opened is None:
                continue
            raw, first = "r" in opened[1].lower(), at + opened.end()
            body = literal[opened.end() : -len(opened[2])]
            pieces = re.finditer(r"\r\n|.", body, re.DOTALL) if raw else _ESCAPE.finditer(body)
            for piece in pieces:
                character = _value_of(piece.group(), raw)
                text.append(character)
                spans.extend([(first + piece.start(), first + piece.end())] * len(character))
        return "".join(text), spans

    def _literals(self, start: int, end: int) -> Iterator[tuple[int, str]]:
        fragment = f"({self._source[start:end]})"
        lines = re.split(r"(?<=\n)", fragment)
        starts = [0]
        for line in lines:
            starts.append(starts[-1] + len(line))
        for token in tokenize.generate_tokens(io.StringIO(fragment, newline="\n").readline):
            if token.type == tokenize.STRING:
                yield start + starts[token.start[0] - 1] + token.start[1] - 1, token.string


def _value_of(piece: str, raw: bool) -> str:
    if raw or not piece.startswith("\\"):
        return "\n" if piece in {"\r\n", "\r"} else piece
    return str(ast.literal_eval(f'"""{piece}"""')) if piece not in {'\\"', "\\'"} else piece[1]
