"""Python expressions of `self` for the parameters, buffers and other tensors of a module."""

from __future__ import annotations

import ast
import keyword
from collections.abc import Container, Iterator
from typing import Any

import torch

from kernelevolve.synthesis.traced.builder import UnsupportedError
from kernelevolve.synthesis.traced.signature import value_text

_MAX_CONSTANT = 4096
"""The greatest number of elements of a constant that is written as text."""


def attribute_text(name: str) -> str:
    """Return the expression of a parameter, buffer or module from its dotted name; an empty name gives `self`."""
    text = "self"
    for part in filter(None, name.split(".")):
        text = _member(text, part)
    return text


def _member(owner: str, name: str) -> str:
    plain = name.isidentifier() and not keyword.iskeyword(name) and not name.startswith("__")
    return f"{owner}.{name}" if plain else f"getattr({owner}, {name!r})"


def assignment(attribute: str, value: str) -> str:
    """Return a statement that assigns a value to an attribute, an expression from `attribute_text`."""
    place = ast.parse(attribute, mode="eval").body
    if isinstance(place, ast.Call):
        owner, name = place.args
        return f"setattr({ast.unparse(owner)}, {ast.unparse(name)}, {value})"
    return f"{attribute} = {value}"


def find_tensor(model: torch.nn.Module, tensor: torch.Tensor) -> str | None:
    """Return the expression of a tensor in a plain attribute of a module, a list or a dict there; None if not found."""
    for name, module in model.named_modules():
        owner = attribute_text(name)
        for key, value in vars(module).items():
            if key in ("_parameters", "_buffers", "_modules"):
                continue
            for path, found in _tensors(value):
                if _same(found, tensor):
                    return _member(owner, key) + path
    return None


def constant_text(tensor: torch.Tensor) -> str:
    """Return an expression that creates a tensor with the same values.

    Raises:
        UnsupportedError: The tensor has too many elements or is complex.
    """
    if tensor.numel() > _MAX_CONSTANT or tensor.is_complex():
        raise UnsupportedError(f"a constant tensor of {tensor.numel()} elements of {tensor.dtype}")
    values = ", ".join(value_text(v) for v in tensor.detach().reshape(-1).tolist())
    return f"torch.tensor([{values}], dtype={tensor.dtype}).reshape({tuple(tensor.shape)!r})"


def free_name(name: str, taken: Container[str]) -> str:
    """Return the name, with underscores appended until it is not taken."""
    while name in taken:
        name += "_"
    return name


def _tensors(value: Any, path: str = "", depth: int = 4) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        yield path, value
    elif isinstance(value, list | tuple) and depth:
        for i, part in enumerate(value):
            yield from _tensors(part, f"{path}[{i}]", depth - 1)
    elif isinstance(value, dict) and depth:
        for key, part in value.items():
            if isinstance(key, str | int):
                yield from _tensors(part, f"{path}[{key!r}]", depth - 1)


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    if a is b:
        return True
    return (
        (a.shape, a.dtype, a.layout) == (b.shape, b.dtype, b.layout)
        and a.layout == torch.strided
        and (a.data_ptr(), a.stride()) == (b.data_ptr(), b.stride())
        and a.numel() > 0
    )
