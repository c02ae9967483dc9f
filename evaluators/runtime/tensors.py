"""Exchange of tensors between processes: as raw files with a description in JSON, or as memory of another process.

Nothing is unpickled, so a hostile process can at worst deliver wrong numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import ConfigDict, Field, field_validator, model_validator

from kernelevolve.core.record import Record
from kernelevolve.tasks.structure import StructureError, described, key_order
from kernelevolve.tasks.structure import flatten as flat
from kernelevolve.tasks.tensor_kinds import DTYPES, fault_of

_Base = torch._C.TensorBase
pointer_of, _stride_of, _size_of = _Base.data_ptr, _Base.stride, _Base.size
_is_neg, _is_conj = _Base.is_neg, _Base.is_conj
"""The methods of tensors, looked up before foreign code is loaded, since it may replace those of torch.Tensor."""
_TENSORS = (torch.Tensor, torch.nn.Parameter)
_MOST_ENCODED = 1 << 16
"""The most elements of a tensor that `encode` accepts."""
_Size = Annotated[int, Field(ge=0, lt=1 << 48)]


class TensorDescription(Record):
    """The description of a strided tensor in another process, as that process reports it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    dtype: str
    """The name of its dtype, without `torch.`."""
    shape: tuple[_Size, ...]
    """The shape in elements."""
    stride: tuple[_Size, ...]
    """The strides in elements."""
    pointer: Annotated[int, Field(ge=0, lt=1 << 63)] = 0
    """The address of its first element in the process."""

    @field_validator("dtype")
    @classmethod
    def _known(cls, dtype: str) -> str:
        if dtype not in DTYPES:
            raise ValueError(f"unsupported dtype: {dtype}")
        return dtype

    @model_validator(mode="after")
    def _of_one_rank(self) -> TensorDescription:
        if len(self.shape) != len(self.stride):
            raise ValueError("shape and strides differ in length")
        return self

    @property
    def numel(self) -> int:
        """The number of elements."""
        count = 1
        for size in self.shape:
            count *= size
        return count

    def as_real(self) -> TensorDescription:
        """Return the description of a complex tensor as one of pairs of real numbers, like `comparable`; others are unchanged."""
        if not self.dtype.startswith("complex"):
            return self
        real = "float32" if self.dtype == "complex64" else "float64"
        stride = (*(2 * step for step in self.stride), 1)
        return self.model_copy(update={"dtype": real, "shape": (*self.shape, 2), "stride": stride})

    @property
    def span(self) -> int:
        """The number of elements from the first to the last in memory."""
        return span_of(self.shape, self.stride)

    @property
    def contiguous(self) -> bool:
        """Whether the tensor is contiguous in row-major order."""
        expected = 1
        for size, stride in zip(reversed(self.shape), reversed(self.stride), strict=True):
            if size != 1 and stride != expected:
                return False
            expected *= size
        return True


def describe(tensor: torch.Tensor) -> dict[str, Any]:
    """Return the fields of `Described` for a tensor. Raises TypeError for a tensor with a pending negation or conjugation."""
    if _is_neg(tensor) or _is_conj(tensor):
        raise TypeError("a tensor with a pending negation or conjugation")
    return {
        "dtype": str(tensor.dtype).removeprefix("torch."),
        "shape": list(_size_of(tensor)),
        "stride": list(_stride_of(tensor)),
        "pointer": pointer_of(tensor),
    }


def span_of(shape: Sequence[int], stride: Sequence[int]) -> int:
    """Return the number of elements from the first to the last in memory, gaps included.

    Args:
        shape: The shape of a tensor, in elements.
        stride: Its strides, in elements.
    """
    if 0 in shape:
        return 0
    return 1 + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Return whether two tensors hold the same bits, NaN included."""
    if a.is_complex():
        a, b = torch.view_as_real(a), torch.view_as_real(b)
    if a.is_floating_point():
        integer = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[a.element_size()]
        return bool(torch.equal(a.view(integer), b.view(integer)))
    return bool(torch.equal(raw(a), raw(b)))


def raw(tensor: torch.Tensor) -> torch.Tensor:
    """Return booleans as bytes, which shows values other than 0 and 1; other tensors are unchanged."""
    return tensor.view(torch.uint8) if tensor.dtype is torch.bool else tensor


def comparable(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor in the form in which results are compared.

    Complex numbers become pairs of real ones in a further dimension, and 8-bit floating dtypes become float32. Others are unchanged.
    """
    if tensor.is_complex():
        return torch.view_as_real(tensor.resolve_conj())
    return tensor.float() if tensor.is_floating_point() and tensor.itemsize == 1 else tensor


def as_tensor(number: float) -> torch.Tensor:
    """Return a floating number as a tensor, to be compared as elements are."""
    return torch.tensor(number, dtype=torch.float32)


def memory_of(tensor: torch.Tensor) -> torch.Tensor:
    """Return a one-dimensional view of the elements from the first to the last in memory, gaps included."""
    return tensor.as_strided((span_of(tensor.shape, tensor.stride()),), (1,))


def save(value: Any, path: Path, *, contiguous: bool = False) -> dict[str, Any]:
    """Write a tensor to a file, or describe a plain value.

    Args:
        value: A tensor or a plain value.
        path: The file to write if it is a tensor.
        contiguous: Whether the tensor is made contiguous rather than written with its strides.

    Returns:
        The `dtype`, `shape` and `stride` of a tensor, or the `value`.

    Raises:
        TypeError: The value is neither plain nor a tensor that can be written.
    """
    if isinstance(value, torch.Tensor):
        tensor = value.detach().to("cpu").resolve_conj().resolve_neg()
        dtype = str(tensor.dtype).removeprefix("torch.")
        if dtype not in DTYPES or tensor.layout != torch.strided:
            raise TypeError(f"a tensor that {fault_of(tensor)}")
        if contiguous or span_of(tensor.shape, tensor.stride()) > 2 * tensor.numel():
            tensor = tensor.contiguous()
        memory = memory_of(tensor)
        with path.open("wb") as handle:
            if memory.numel():
                handle.write(memoryview(memory.view(torch.uint8).numpy()))
        return {"dtype": dtype, "shape": list(tensor.shape), "stride": list(tensor.stride())}
    if value is None or isinstance(value, bool | int | float | str):
        return {"value": value}
    raise TypeError(f"a value of type {type(value).__name__}")


def load(meta: Mapping[str, Any], path: Path) -> Any:
    """Load a value that `save` wrote. The file is mapped privately, so writing to the tensor does not change it.

    Args:
        meta: The description that `save` returned.
        path: The file.

    Raises:
        ValueError: The file is not as long as the description says.
    """
    if "value" in meta:
        return meta["value"]
    dtype, shape, stride = DTYPES[meta["dtype"]], meta["shape"], meta["stride"]
    size = span_of(shape, stride) * dtype.itemsize
    if path.stat().st_size != size:
        raise ValueError(f"{path.name} holds {path.stat().st_size} bytes instead of {size}")
    if size == 0:
        return torch.empty_strided(shape, stride, dtype=dtype)
    raw = torch.from_file(str(path), shared=False, size=size, dtype=torch.uint8)
    return raw.view(dtype).as_strided(shape, stride)


@dataclass(frozen=True)
class Result:
    """The result of `forward`, flattened."""

    tensors: list[torch.Tensor]
    """The tensors among the leaves, in the memory of the device."""
    values: list[bool | int | float | str | None]
    """The plain values among the leaves."""
    structure: str
    """The nesting of the result, as `structure.described` writes it."""
    as_tuples: str
    """The same with tuples in place of named tuples."""


def flatten_result(result: Any, device: str = "cpu") -> Result:
    """Flatten the result of `forward`.

    Args:
        result: The result.
        device: The type of the device on which its tensors must lie.

    Raises:
        TypeError: The result holds something that cannot be returned, such as a subclass of Tensor. The text continues "forward ...".
    """
    if is_plain_tensor(result) and not fault_of(result, device=device):
        return Result([result], [], "tensor", "tensor")
    try:
        leaves, structure = flat(result, by_key=True)
    except StructureError as error:
        raise TypeError(_returned(error.path, error.fault)) from error
    found, values = [], []
    for path, leaf in zip(structure.paths(), leaves, strict=True):
        if not isinstance(leaf, torch.Tensor):
            values.append(leaf)
            continue
        # A subclass of Tensor may compute its values only when they are read.
        fault = fault_of(leaf, verb="return", device=device)
        if fault:
            raise TypeError(_returned(path, fault))
        found.append(leaf.resolve_conj().resolve_neg())
    nesting = described(structure, leaves)
    return Result(found, values, nesting, described(structure.with_plain_tuples(), leaves))


def is_plain_tensor(result: Any) -> bool:
    """Return whether a result is a plain tensor, not a subclass, without a pending negation or conjugation."""
    return type(result) in _TENSORS and not _is_conj(result) and not _is_neg(result)


def pointers_of(result: Any, kept: list[Any]) -> list[int]:
    """Return the addresses of the tensors of a result, in the order of `flatten_result`, without checking the tensors.

    Args:
        result: The result of `forward`.
        kept: A list that gets the tensors that had to be conjugated or negated first, so that they stay in memory.
    """
    if is_plain_tensor(result):
        return [pointer_of(result)]
    if type(result) in _TENSORS:
        kept.append(result.resolve_conj().resolve_neg())
        return [pointer_of(kept[-1])]
    if isinstance(result, dict):
        result = [result[k] for k in sorted(result, key=key_order)]
    if isinstance(result, tuple | list):
        return [pointer for part in result for pointer in pointers_of(part, kept)]
    if isinstance(result, torch.Tensor):
        raise TypeError(f"a timed call returned a {type(result).__name__}")
    return []


def _returned(path: str, fault: str) -> str:
    return f"returned result{path}, which {fault}" if path else f"returned a result that {fault}"


def encode(value: Any) -> dict[str, Any]:
    """Encode a constructor's argument as JSON.

    Raises:
        TypeError: The argument is not made of numbers, text, dtypes, small tensors and containers of them.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return {"value": value}
    if isinstance(value, list | tuple):
        return {"tuple" if isinstance(value, tuple) else "list": [encode(v) for v in value]}
    if isinstance(value, dict) and all(isinstance(k, str) for k in value):
        return {"dict": {k: encode(v) for k, v in value.items()}}
    if isinstance(value, torch.dtype):
        return {"dtype": str(value).removeprefix("torch.")}
    if type(value) is torch.Tensor and value.numel() <= _MOST_ENCODED and str(value.dtype)[6:] in DTYPES:
        return {"tensor": value.tolist(), "dtype": str(value.dtype).removeprefix("torch."), "shape": list(value.shape)}
    raise TypeError(f"a {type(value).__name__}")


def decode(coded: Mapping[str, Any]) -> Any:
    """Decode what `encode` returned."""
    match coded:
        case {"value": value}:
            return value
        case {"list": items}:
            return [decode(v) for v in items]
        case {"tuple": items}:
            return tuple(decode(v) for v in items)
        case {"dict": items}:
            return {k: decode(v) for k, v in items.items()}
        case {"tensor": values, "dtype": dtype, "shape": shape}:
            return torch.tensor(values, dtype=DTYPES[dtype]).reshape(shape)
        case {"dtype": dtype}:
            return getattr(torch, dtype)
    raise ValueError(f"not an encoded value: {coded}")
