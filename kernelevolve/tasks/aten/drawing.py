"""How a tensor of a task is drawn: like the sample's own one, at any size."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

_HELPERS = {
    "positive_definite": """def positive_definite(*shape):
    a = torch.randn(shape)
    return a @ a.mT / shape[-1] + torch.eye(shape[-1])""",
    "symmetric": """def symmetric(*shape):
    a = torch.randn(shape)
    return (a + a.mT) / 2""",
}
"""Name -> the definition of a function that the file of a task may need."""
_LITERAL = 64
"""The number of elements up to which a sample's own values are written into the file."""
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True)
class Drawing:
    """An expression with `{shape}` in the place of the sizes, `{tuple}` of the shape and `{last}` of the last size."""

    template: str
    dtype: torch.dtype
    plain: torch.dtype
    """The dtype that the template itself gives."""
    fixed: tuple[int, ...] | None = None
    """The only shape that it can be drawn in; None: any."""

    def expression(self, shape: Sequence[int]) -> str:
        """Return Python that draws a tensor of a shape."""
        sizes = ", ".join(map(str, shape)) or "()"
        text = self.template.replace("{shape}", sizes).replace("{tuple}", str(tuple(shape)))
        text = text.replace("{last}", str(shape[-1] if shape else 1))
        if self.dtype == self.plain:
            return text
        return f"({text}).to({self.dtype})"

    def draw(self, shape: Sequence[int]) -> torch.Tensor:
        """Draw a tensor from torch's global generator."""
        found = eval(self.expression(shape), namespace())
        assert isinstance(found, torch.Tensor)
        return found


def namespace() -> dict[str, object]:
    """Return the names that expressions may use."""
    names: dict[str, object] = {"torch": torch}
    for definition in _HELPERS.values():
        exec(definition, names)
    return names


def helpers(expressions: Sequence[str]) -> list[str]:
    """Return the definitions that expressions need."""
    return [text for name, text in _HELPERS.items() if any(f"{name}(" in each for each in expressions)]


def drawings_of(tensor: torch.Tensor, *, whole: bool = False) -> Iterator[Drawing]:
    """Yield the ways to draw a tensor like this one, the most faithful first.

    A structure of the sample's values is kept: triangular, positive definite or symmetric matrices, rows that are sorted or that sum to
    1, permutations, constants. Otherwise values are uniform within the range of the sample's, then in the middle of that range, then in
    its positive part. The last way is the sample's own values.

    Args:
        tensor: The sample's tensor.
        whole: Draw floats from a few whole numbers, for operators that ask whether values are equal or zero.
    """
    dtype = tensor.dtype
    if tensor.numel():
        if dtype is torch.bool:
            yield Drawing(_boolean(tensor), dtype, torch.bool)
        elif dtype.is_complex:
            yield Drawing("torch.randn({shape}, dtype=torch.complex64)", dtype, torch.complex64)
        elif dtype.is_floating_point and whole:
            yield Drawing("torch.randint(-2, 3, {tuple})", dtype, torch.int64)
        elif dtype.is_floating_point:
            for template in _floating(tensor):
                yield Drawing(template, dtype, torch.float32)
        else:
            yield Drawing(_whole(tensor), dtype, torch.int64)
    if tensor.numel() <= _LITERAL and not dtype.is_complex:
        values = "float" if dtype.is_floating_point else "int64" if dtype is not torch.bool else "bool"
        plain = torch.float32 if values == "float" else getattr(torch, values)
        text = f"torch.tensor({_values(tensor)}, dtype={plain})"
        if tensor.numel() == 0:
            text = f"torch.zeros({tuple(tensor.shape)}, dtype={plain})"
        yield Drawing(text, dtype, plain, fixed=tuple(tensor.shape))


def _boolean(tensor: torch.Tensor) -> str:
    share = float(tensor.float().mean())
    if share in (0.0, 1.0):
        return f"torch.full({{tuple}}, {bool(share)})"
    return f"torch.rand({{shape}}) < {min(max(round(share, 2), 0.1), 0.9)}"


def _whole(tensor: torch.Tensor) -> str:
    values = tensor.to(torch.int64)
    low, high = int(values.min()), int(values.max())
    if values.dim() == 1 and values.numel() > 1 and values.sort().values.equal(torch.arange(values.numel())):
        return "torch.arange({last})" if _sorted(values) else "torch.randperm({last})"
    if low == high and values.numel() > 1:
        return f"torch.full({{tuple}}, {low})"
    text = f"torch.randint({low}, {high + 1}, {{tuple}})" if values.dim() else f"torch.randint({low}, {high + 1}, ())"
    return f"{text}.sort(-1).values" if _sorted(values) and values.shape[-1] > 3 else text


def _floating(tensor: torch.Tensor) -> Iterator[str]:
    values = tensor.double()
    finite = values[values.isfinite()]
    if not finite.numel():
        return
    low, high = float(finite.min()), float(finite.max())
    if low == high:
        if values.numel() > 1:
            yield f"torch.full({{tuple}}, {low:.6g})"
        else:  # One value tells no range: it is drawn between half of it and itself.
            yield _uniform(*sorted((low / 2, low))) if low else "torch.rand({shape})"
        return
    uniform = _uniform(low, high)
    if values.dim() >= 2 and values.shape[-1] == values.shape[-2] > 1 and finite.numel() == values.numel():
        if values.equal(values.mT):
            positive = bool((torch.linalg.eigvalsh(values) > 0).all())
            yield "positive_definite({shape})" if positive else "symmetric({shape})"
        elif values.tril().equal(values):
            yield f"({uniform}).tril()"
        elif values.triu().equal(values):
            yield f"({uniform}).triu()"
    if values.dim() and values.shape[-1] > 3 and low >= 0 and bool((values.sum(-1) - 1).abs().max() < 1e-3):
        yield "torch.rand({shape}).softmax(-1)"
    if _sorted(values) and values.shape[-1] > 3:
        yield f"({uniform}).sort(-1).values"
    yield uniform
    middle, reach = (low + high) / 2, (high - low) / 2
    yield _uniform(middle - 0.8 * reach, middle + 0.8 * reach)
    if low < 0 < high:
        yield _uniform(0.1 * high, high)


def _uniform(low: float, high: float) -> str:
    """Return an expression of uniform values within a range, whose ends are rounded inwards."""
    digits = 2 - math.floor(math.log10(max(high - low, 1e-30)))
    scale = 10.0**digits
    inner_low, inner_high = math.ceil(low * scale) / scale, math.floor(high * scale) / scale
    if inner_high <= inner_low:
        inner_low, inner_high = low, high
    width = f"{inner_high - inner_low:.6g}"
    scaled = "torch.rand({shape})" if width == "1" else f"torch.rand({{shape}}) * {width}"
    if inner_low == 0:
        return scaled
    return f"{scaled} {'-' if inner_low < 0 else '+'} {abs(inner_low):.6g}"


def _sorted(values: torch.Tensor) -> bool:
    return bool(values.dim()) and bool((values.diff(dim=-1) >= 0).all())


def _values(tensor: torch.Tensor) -> str:
    """Return the values as nested lists."""
    text = str(tensor.double().tolist() if tensor.dtype.is_floating_point else tensor.tolist())
    return text.replace("inf", 'float("inf")').replace("nan", 'float("nan")')
