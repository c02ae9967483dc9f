"""Decompositions of ATen operations: those of PyTorch, and further ones for operations that it does not decompose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._decomp import core_aten_decompositions, get_decompositions


def _repeat_interleave(x: Tensor, repeats: int, dim: int | None = None, *, output_size: int | None = None) -> Tensor:
    """Repeat by expanding. The decomposition of PyTorch computes an index whose length is unknown to the export."""
    del output_size
    flat = x.flatten() if dim is None else x
    at = (dim or 0) % max(flat.dim(), 1)
    wide = flat.unsqueeze(at + 1)
    wide = wide.expand(*wide.shape[: at + 1], repeats, *wide.shape[at + 2 :])
    return wide.reshape(*flat.shape[:at], flat.shape[at] * repeats, *flat.shape[at + 1 :])


def _cdist(a: Tensor, b: Tensor, p: float, compute_mode: int | None) -> Tensor:
    """Compute the distances of all pairs of rows directly; PyTorch uses a matrix product for many rows."""
    del compute_mode
    return torch.linalg.vector_norm(a.unsqueeze(-2) - b.unsqueeze(-3), p, dim=-1)


def _trilinear(
    a: Tensor,
    b: Tensor,
    c: Tensor,
    more_a: list[int],
    more_b: list[int],
    more_c: list[int],
    over: list[int],
    unroll: int = 1,
) -> Tensor:
    del unroll
    for dims, position in ((more_a, 0), (more_b, 1), (more_c, 2)):
        for dim in dims:
            a, b, c = (x.unsqueeze(dim) if k == position else x for k, x in enumerate((a, b, c)))
    return (a * b * c).sum(over)


def _fake_quantized(x: Tensor, scale: Tensor | float, zero: Tensor | int, low: int, high: int) -> tuple[Tensor, Tensor]:
    """Return x rounded to the quantized values, and the mask of the elements that were not clamped."""
    inverse = 1.0 / torch.as_tensor(scale, dtype=torch.float32)
    rounded = torch.round(x * inverse + zero)
    inside = (rounded >= low) & (rounded <= high)
    return ((rounded.clamp(low, high) - zero) * scale).to(x.dtype), inside


def _fake_quantize_channels(
    x: Tensor, scale: Tensor, zero: Tensor, axis: int, low: int, high: int
) -> tuple[Tensor, Tensor]:
    shape = [-1 if d == axis % x.dim() else 1 for d in range(x.dim())]
    return _fake_quantized(x, scale.reshape(shape), zero.reshape(shape), low, high)


def _histc(x: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """Count the elements in bins of equal width. The last bin includes its upper end; elements outside are ignored."""
    flat = x.flatten()
    low, high = (flat.amin(), flat.amax()) if min == max else (x.new_full((), min), x.new_full((), max))
    low, high = torch.where(low == high, low - 1, low), torch.where(low == high, high + 1, high)
    place = ((flat - low) / (high - low) * bins).to(torch.int64).clamp(0, bins - 1)
    counted = ((flat >= low) & (flat <= high)).to(x.dtype)
    return x.new_zeros(bins).index_add(0, place, counted)


def _masked_scatter(x: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """Replace the masked elements by those of the source, in order."""
    x, mask = torch.broadcast_tensors(x, mask)
    place = mask.flatten().cumsum(0).reshape(mask.shape) - 1
    return torch.where(mask, source.flatten()[place.clamp(min=0)], x)


def _prelu(x: Tensor, weight: Tensor) -> Tensor:
    """Apply one slope to all elements, or one for each channel, which is the second dimension."""
    shape = [1] * x.dim()
    if x.dim() > 0:
        shape[min(1, x.dim() - 1)] = weight.shape[0]
    return torch.where(x > 0, x, weight.reshape(shape) * x)


def _resized_smoothly(cubic: bool) -> Callable[..., Tensor]:
    """Return an antialiased resize: products with two matrices of filter weights, whose rows sum to 1."""

    def filtered(distance: Tensor) -> Tensor:
        d = distance.abs()
        if not cubic:
            return (1 - d).clamp(min=0)
        near, far = (1.5 * d - 2.5) * d * d + 1, ((-0.5 * d + 2.5) * d - 4) * d + 2
        return torch.where(d < 1, near, torch.where(d < 2, far, 0.0))

    def weights(length: int, wanted: int, aligned: bool, scale: float | None) -> Tensor:
        ratio = (length - 1) / max(wanted - 1, 1) if aligned else 1 / scale if scale else length / wanted
        centre = (torch.arange(wanted) + 0.5) * ratio - 0.5
        table = filtered((torch.arange(length) - centre[:, None]) / max(ratio, 1.0))
        return table / table.sum(1, keepdim=True)

    def resized(
        x: Tensor, size: list[int], aligned: bool, tall: float | None = None, wide: float | None = None
    ) -> Tensor:
        rows = weights(x.shape[-2], size[0], aligned, tall).to(x.dtype)
        columns = weights(x.shape[-1], size[1], aligned, wide).to(x.dtype)
        return torch.matmul(rows, torch.matmul(x, columns.t()))

    return resized


def _addbmm(x: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    return x * beta + torch.bmm(a, b).sum(0) * alpha


def _pad_circular(x: Tensor, pad: list[int]) -> Tensor:
    """Pad the last dimensions with elements from their other ends."""
    for k in range(len(pad) // 2):
        before, after, dim = pad[2 * k], pad[2 * k + 1], x.dim() - 1 - k
        length = x.shape[dim]
        place = (torch.arange(before + length + after, device=x.device) + (length - before)) % length
        x = x.index_select(dim, place)
    return x


_aten = torch.ops.aten
_OWN: dict[Any, Callable[..., Any]] = {
    _aten.repeat_interleave.self_int: _repeat_interleave,
    _aten._cdist_forward.default: _cdist,
    _aten._trilinear.default: _trilinear,
    _aten.fake_quantize_per_tensor_affine_cachemask.default: _fake_quantized,
    _aten.fake_quantize_per_channel_affine_cachemask.default: _fake_quantize_channels,
    _aten.histc.default: _histc,
    _aten.masked_scatter.default: _masked_scatter,
    _aten.addbmm.default: _addbmm,
    _aten._pad_circular.default: _pad_circular,
    _aten.prelu.default: _prelu,
    _aten._prelu_kernel.default: lambda x, weight: torch.where(x > 0, x, weight * x),
    _aten._upsample_bilinear2d_aa.default: _resized_smoothly(cubic=False),
    _aten._upsample_bicubic2d_aa.default: _resized_smoothly(cubic=True),
}


def decompositions() -> dict[Any, Callable[..., Any]]:
    """Return the decomposition of each ATen operation that is not lowered itself."""
    aten = torch.ops.aten
    composite = [
        *(aten._softmax, aten._log_softmax, aten.native_layer_norm, aten.native_group_norm, aten.silu, aten.mish),
        *(aten._native_batch_norm_legit_no_training, aten._native_batch_norm_legit_functional, aten.hardswish),
        *(
            aten.hardsigmoid,
            aten.softplus,
            aten.log_sigmoid_forward,
            aten.mse_loss,
            aten.smooth_l1_loss,
            aten.huber_loss,
        ),
        *(
            aten.binary_cross_entropy,
            aten.binary_cross_entropy_with_logits,
            aten.nll_loss_forward,
            aten.soft_margin_loss,
        ),
        *(aten.native_batch_norm, aten._native_batch_norm_legit),
        *(aten.addmv, aten.addr, aten.glu, aten.logit, aten.logsumexp, aten.frac, aten.tril, aten.triu),
        *(
            aten.native_dropout,
            aten.rsub,
            aten.threshold,
            aten.celu,
            aten.selu,
            aten.eye,
        ),
        *(aten.rms_norm, aten._fused_rms_norm, aten.unsafe_split, aten._scaled_dot_product_flash_attention_for_cpu),
        *(aten.logaddexp, aten.nan_to_num, aten.xlogy, aten.roll, aten.upsample_nearest2d),
        *(aten.index_fill, aten.cumulative_trapezoid, aten.norm, aten.linspace),
        *(aten.grid_sampler_2d, aten.upsample_bilinear2d, aten.tril_indices, aten.triu_indices, aten.heaviside),
    ]
    table = {**core_aten_decompositions(), **get_decompositions([c for c in composite if c is not None])}
    # These are lowered without decomposing them: a std from a float32 variance, for example, overflows too early.
    kept = {aten.std.correction, aten.std_mean.correction, aten.slice_scatter.default, aten.select_scatter.default}
    return {**{name: made for name, made in table.items() if name not in kept}, **_OWN}
