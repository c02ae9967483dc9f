"""Which language a kernel file is in."""

from __future__ import annotations

import re

_CPP = re.compile(r"^CPP_SOURCE\b", re.MULTILINE)


def language_of(source: str) -> str:
    """The name of its toolchain, by what the file assigns at its top."""
    return "cpp" if _CPP.search(source) else "python"
