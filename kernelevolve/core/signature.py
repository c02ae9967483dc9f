"""The argument types of calls to a task's operator, for toolchains that specialise on them."""

from __future__ import annotations

from kernelevolve.core.record import Record


class TensorType(Record):
    """The type of one tensor argument."""

    dtype: str
    """The name of the dtype in PyTorch, without `torch.`."""
    shape: tuple[int, ...]
    stride: tuple[int, ...]


Argument = TensorType | bool | int | float | str | None


class Signature(Record):
    """The arguments of the calls that a kernel must support."""

    calls: tuple[tuple[Argument, ...], ...] = ()
    """The flattened arguments of each call: the main inputs first, then the task's further inputs."""
