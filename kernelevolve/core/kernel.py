"""The record of a kernel: source, language and knobs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from kernelevolve.core.record import Record, content_id

KnobValue = bool | int | float | str


class Kernel(Record):
    """A candidate kernel."""

    source: str
    """The text of one self-contained Python file that defines `ModelNew`."""
    language: str
    """The toolchain that compiles the source: `cpp`, `python`, `triton`, ..."""
    knobs: Mapping[str, KnobValue] = {}
    """The tunable values as read from the source. They are no further content, so they do not contribute to the id."""

    @cached_property
    def id(self) -> str:
        """The hash of the language and the source."""
        return content_id(self.language, self.source)
