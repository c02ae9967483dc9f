"""The record of a task: an operator to make faster, and the rules by which results count as equal."""

from __future__ import annotations

from enum import StrEnum
from functools import cached_property

from pydantic import Field

from kernelevolve.core.record import Record, content_id


class Tolerance(Record):
    """The tolerance of results. A result y is correct if |y - oracle| <= atol + rtol * |oracle|, element by element.

    `None` stands for the evaluator's default for the dtype of the output.
    """

    atol: float | None = Field(default=None, ge=0)
    """The absolute tolerance."""
    rtol: float | None = Field(default=None, ge=0)
    """The relative tolerance."""


class AllowAten(StrEnum):
    """How much of PyTorch's own compute (ATen) a kernel may call after its construction."""

    NONE = "none"
    """Only allocation, views and metadata."""
    HELPERS = "helpers"
    """Also data movement: filling, copying, casting, joining, padding, rearranging."""
    ALL = "all"
    """All operators."""


class Task(Record):
    """An operator in KernelBench's file format.

    The source defines `Model`, `get_inputs`, `get_init_inputs` and, if there are further shapes,
    `get_input_variants() -> dict[str, list]`. The record is plain data that travels between processes;
    `kernelevolve.tasks` loads and runs it.
    """

    name: str = Field(min_length=1)
    source: str
    """The text of the task file."""
    tolerance: Tolerance = Tolerance()
    seed: int = 0
    """The seed that is set with `torch.manual_seed` before each constructor call and before inputs are drawn."""
    allow_aten: AllowAten = AllowAten.ALL
    """How much of PyTorch's own compute a kernel may call."""

    @cached_property
    def id(self) -> str:
        """The hash of everything that an evaluation depends on. The name does not contribute."""
        rule = () if self.allow_aten is AllowAten.ALL else (self.allow_aten.value,)
        return content_id(self.source, self.tolerance.model_dump_json(), str(self.seed), *rule)
