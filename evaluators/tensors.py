"""Tensors as raw files with a description in JSON: the only form in which data crosses between processes here.

Nothing is unpickled, so a hostile child can at worst deliver wrong numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

DTYPES = {
    str(d).removeprefix("torch."): d
    for d in (
        *(torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.bool),
        *(torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
    )
}


def save(value: Any, path: Path) -> dict[str, Any]:
    """Write a tensor, or describe a plain value. Raises TypeError for anything else."""
    if isinstance(value, torch.Tensor):
        dtype = str(value.dtype).removeprefix("torch.")
        if dtype not in DTYPES or value.layout != torch.strided:
            raise TypeError(f"a tensor of {value.dtype} with layout {value.layout}")
        flat = value.detach().to("cpu").contiguous()
        path.unlink(missing_ok=True)  # foreign code may have put a link there
        with path.open("wb") as handle:
            if flat.numel():
                handle.write(memoryview(flat.reshape(-1).view(torch.uint8).numpy()))
        return {"dtype": dtype, "shape": list(value.shape)}
    if value is None or isinstance(value, bool | int | float | str):
        return {"value": value}
    raise TypeError(f"a value of type {type(value).__name__}")


def load(meta: Mapping[str, Any], path: Path) -> Any:
    """The inverse of `save`, mapped privately: writing to it does not reach the file.

    Raises ValueError when the file is a link, or not as long as the description says.
    """
    if "value" in meta:
        return meta["value"]
    dtype, shape = DTYPES[meta["dtype"]], [int(s) for s in meta["shape"]]
    count = 1
    for s in shape:
        count *= s
    if path.is_symlink():
        raise ValueError(f"{path.name} is a link")
    if path.stat().st_size != count * dtype.itemsize:
        raise ValueError(f"{path.name} holds {path.stat().st_size} bytes, {count} of {dtype} were announced")
    if count == 0:
        return torch.empty(shape, dtype=dtype)
    raw = torch.from_file(str(path), shared=False, size=count * dtype.itemsize, dtype=torch.uint8)
    return raw.view(dtype).reshape(shape)


def flatten(result: Any) -> tuple[list[torch.Tensor], str]:
    """The tensors of a result and its structure. Raises TypeError where it holds something else."""
    if isinstance(result, torch.Tensor):
        return [result], "tensor"
    if isinstance(result, tuple | list):
        parts: list[torch.Tensor] = []
        names = []
        for item in result:
            tensors, name = flatten(item)
            parts += tensors
            names.append(name)
        return parts, f"sequence({', '.join(names)})"
    if isinstance(result, dict):
        parts, names = [], []
        for k in sorted(result):
            tensors, name = flatten(result[k])
            parts += tensors
            names.append(f"{k}: {name}")
        return parts, f"dict({', '.join(names)})"
    raise TypeError(f"returned {type(result).__name__}, no tensor")
