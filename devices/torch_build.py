"""The platform that the installed torch was built for, read from its files. Importing torch takes seconds, and this does not."""

from __future__ import annotations

import functools
import re
from importlib.machinery import PathFinder
from pathlib import Path

from kernelevolve.core.record import Record

_ASSIGNED = re.compile(r"^(?P<name>cuda|hip|__version__)\b[^=\n]*=\s*(?P<value>.+)$", re.MULTILINE)


class TorchBuild(Record):
    """The build of torch."""

    version: str
    """The version of torch; empty if there is no torch."""
    cuda: tuple[int, int] | None = None
    """The version of CUDA that it was built for, or None."""
    hip: str = ""
    """The version of HIP that it was built for; empty if it was not."""


@functools.lru_cache(maxsize=1)
def torch_build() -> TorchBuild:
    """Return the build of the torch that this process would import."""
    found = PathFinder.find_spec("torch")
    if found is None or found.origin is None:
        return TorchBuild(version="")
    return build_of(Path(found.origin).with_name("version.py").read_text(encoding="utf-8"))


def build_of(text: str) -> TorchBuild:
    """Return the build that the text of torch's `version.py` describes."""
    values = {found["name"]: found["value"].strip().strip("'\"") for found in _ASSIGNED.finditer(text)}
    cuda = re.match(r"(\d+)\.(\d+)", values.get("cuda", ""))
    hip = values.get("hip", "None")
    return TorchBuild(
        version=values.get("__version__", "unknown"),
        cuda=(int(cuda[1]), int(cuda[2])) if cuda else None,
        hip="" if hip == "None" else hip,
    )
