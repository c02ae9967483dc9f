"""The kinds of tensors that can be given to a kernel and returned by it, and the remedies for the others."""

from __future__ import annotations

import torch

_NAMES = (
    *("float16", "bfloat16", "float32", "float64", "bool", "complex64", "complex128"),
    *("uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64"),
    *("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu"),
)
DTYPES: dict[str, torch.dtype] = {name: getattr(torch, name) for name in _NAMES if hasattr(torch, name)}
"""Name -> dtype of the tensors that can be sent between processes."""
_SPARSE = {
    torch.sparse_coo: "its indices and values",
    torch.sparse_csr: "its crow_indices, col_indices and values",
    torch.sparse_csc: "its ccol_indices, row_indices and values",
    torch.sparse_bsr: "its crow_indices, col_indices and values",
    torch.sparse_bsc: "its ccol_indices, row_indices and values",
}
"""Layout -> the parts to pass instead of a sparse tensor."""


def fault_of(tensor: torch.Tensor, *, verb: str = "pass", device: str = "cpu") -> str:
    """Check whether a tensor can be given to a kernel or returned by it.

    Args:
        tensor: The tensor.
        verb: The verb of the remedy.
        device: The type of the device on which it must lie.

    Returns:
        "" if it can; else the fault and the remedy: `is sparse (...): pass ...`.
    """
    if tensor.layout in _SPARSE:
        return f"is sparse (layout {tensor.layout}): {verb} {_SPARSE[tensor.layout]} as separate tensors"
    if tensor.is_nested:
        return f"is a nested tensor: {verb} its values and offsets as separate tensors, or one that is padded"
    if tensor.is_quantized:
        return f"is quantised ({tensor.dtype}): {verb} its int_repr(), scale and zero point as separate tensors"
    if type(tensor) not in (torch.Tensor, torch.nn.Parameter):
        return f"is a {type(tensor).__name__}, a subclass of torch.Tensor: {verb} plain tensors"
    if tensor.device.type == "meta":
        return f"is a meta tensor, without values: {verb} one that lies in memory"
    if tensor.device.type != device:
        return f"lies on {tensor.device}: {verb} one on {'the CPU' if device == 'cpu' else device}"
    if tensor.layout != torch.strided:
        return f"has the layout {tensor.layout}: {verb} its to_dense()"
    if str(tensor.dtype).removeprefix("torch.") not in DTYPES:
        return f"is of {tensor.dtype}, which does not travel: {verb} it as one of {', '.join(DTYPES)}"
    return ""
