"""A kernel: the source of a candidate, its language, and the knobs that its source holds."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from kernelevolve.core.record import Record, content_id

KnobValue = bool | int | float | str


class Kernel(Record):
    """A candidate.

    `source` is one Python file that defines `ModelNew` and runs by itself. `language` names the toolchain that compiles
    what it holds (`cpp`, `python`, later `triton`, ...). `knobs` are the tunable values as read from the source: a
    reading of it, never additional content, so they do not count for the identity.
    """

    source: str
    language: str
    knobs: Mapping[str, KnobValue] = {}

    @cached_property
    def id(self) -> str:
        """The hash of the content. Two kernels with the same id behave the same."""
        return content_id(self.language, self.source)
