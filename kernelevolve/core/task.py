"""A task: an operator to make faster, and what counts as the same result."""

from __future__ import annotations

from enum import StrEnum
from functools import cached_property

from pydantic import Field

from kernelevolve.core.record import Record, content_id


class Tolerance(Record):
    """A result y is right when |y - oracle| <= atol + rtol * |oracle|, element by element.

    `None` means: the evaluator's default for the dtype of that output.
    """

    atol: float | None = Field(default=None, ge=0)
    rtol: float | None = Field(default=None, ge=0)


class AllowAten(StrEnum):
    """How much of PyTorch's own compute (ATen) a kernel may call, once it is constructed."""

    NONE = "none"
    """Allocation, views, metadata."""
    HELPERS = "helpers"
    """Also movement of data: filling, copying, casting, joining, padding, rearranging."""
    ALL = "all"


class Task(Record):
    """An operator in KernelBench's file format: `source` defines `Model`, `get_inputs`, `get_init_inputs` and, if there
    are further shapes, `get_input_variants() -> dict[str, list]`. Loading and running it is the business of
    `kernelevolve.tasks`; this record is plain data that travels between processes.
    """

    name: str = Field(min_length=1)
    source: str
    tolerance: Tolerance = Tolerance()
    seed: int = 0
    """Set with `torch.manual_seed` before each constructor and before inputs are drawn."""
    allow_aten: AllowAten = AllowAten.ALL

    @cached_property
    def id(self) -> str:
        """The hash of everything that decides a verdict. The name does not count."""
        rule = () if self.allow_aten is AllowAten.ALL else (self.allow_aten.value,)
        return content_id(self.source, self.tolerance.model_dump_json(), str(self.seed), *rule)
