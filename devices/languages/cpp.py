"""The language of C++ kernels: two literals of the file are compiled to a shared library, which the file's loader finds or builds."""

from __future__ import annotations

import re

from devices.languages.base import Language
from devices.toolchains.literals import LiteralError, read_literals
from devices.toolchains.loader import LOADER

MARK = "# LOADER: defines load_library(CPP_SOURCE, CPP_FLAGS) -> ctypes.CDLL"
"""The comment line that stands for the loader in a folded file."""
_SOURCE = re.compile(r"^CPP_SOURCE\b", re.MULTILINE)
_MARKED = re.compile(r"^#\s*LOADER\b.*$", re.MULTILINE)
_USED = re.compile(r"^(?!def |class |#|\s).*\bload_library\(", re.MULTILINE)
_IMPORT = re.compile(r"^(?:import|from) .*$", re.MULTILINE)


class Cpp(Language):
    """C++: a file assigns `CPP_SOURCE` and `CPP_FLAGS`."""

    name = "cpp"
    embeds_cpp = True
    needs = "a C++ compiler at its first call"

    def detects(self, source: str) -> bool:
        return _SOURCE.search(source) is not None

    def lint(self, source: str) -> str:
        try:
            read_literals(source)
        except LiteralError as error:
            return str(error)
        return ""

    def fold(self, source: str) -> str:
        """Return a file with a comment line in place of the loader."""
        return source.replace(LOADER, MARK)

    def unfold(self, source: str) -> str:
        """Return a file with the loader in place of the comment line, or before its first use if there is no such line."""
        if LOADER in source:
            return source
        first, *others = [match.span() for match in _MARKED.finditer(source)] or [(-1, -1)]
        if first[0] >= 0:
            for start, stop in reversed(others):
                source = source[:start] + source[stop:]
            return source[: first[0]] + LOADER + source[first[1] :]
        if "load_library(" not in source or "def load_library" in source:
            return source
        used = _USED.search(source)
        imports = list(_IMPORT.finditer(source))
        at = used.start() if used else imports[-1].end() + 1 if imports else 0
        return f"{source[:at]}\n{LOADER}\n\n{source[at:]}"
