"""What every C++ kernel file carries and no model needs to read or write: the loader, folded into a line."""

from __future__ import annotations

import re

from devices.toolchains.loader import LOADER

MARK = "# LOADER: defines load_library(CPP_SOURCE, CPP_FLAGS) -> ctypes.CDLL"
_MARKED = re.compile(r"^#\s*LOADER\b.*$", re.MULTILINE)
_USED = re.compile(r"^(?!def |class |#|\s).*\bload_library\(", re.MULTILINE)
_IMPORT = re.compile(r"^(?:import|from) .*$", re.MULTILINE)


def folded(source: str) -> str:
    """With a line in the loader's place."""
    return source.replace(LOADER, MARK)


def unfolded(source: str) -> str:
    """With the loader in that line's place; and where a file uses it without saying so, before the first use."""
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
