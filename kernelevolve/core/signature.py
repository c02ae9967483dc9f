"""What calls of a task's operator look like, for toolchains that specialise on it."""

from __future__ import annotations

from kernelevolve.core.record import Record


class TensorType(Record):
    """The type of one tensor argument."""

    dtype: str
    """As PyTorch calls it, without `torch.`."""
    shape: tuple[int, ...]
    stride: tuple[int, ...]


Argument = TensorType | bool | int | float | str | None


class Signature(Record):
    """The arguments of the calls that a kernel must serve at least."""

    calls: tuple[tuple[Argument, ...], ...] = ()
    """The leaves of the arguments of each call: the main one first, then the task's further inputs."""
