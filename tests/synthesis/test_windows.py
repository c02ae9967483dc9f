"""Pools and convolutions agree with PyTorch: every argument that they take, several results in one kernel."""

from __future__ import annotations

import pytest

from .conftest import Check, task_of

IMAGES = "[torch.randn(2, 3, 11, 13)]"
OTHER_IMAGES = '{"a": [torch.randn(1, 3, 9, 20)], "b": [torch.randn(3, 3, 16, 8)]}'
VOLUMES = "[torch.randn(2, 2, 6, 7, 9)]"
LINES = "[torch.randn(2, 6, 23)]"

POOLS = {
    "max 1d": (
        LINES,
        "{}",
        "F.max_pool1d(x[0], 3, 2, 1, 2)",
        "F.max_pool1d(x[0], 4, ceil_mode=True)",
        "*F.max_pool1d(x[0][0], 3, return_indices=True)",
    ),
    "max 2d": (
        IMAGES,
        OTHER_IMAGES,
        "*F.max_pool2d(x[0], 3, 2, 1, return_indices=True)",
        "*F.max_pool2d(x[0], (2, 3), (3, 1), (1, 0), (2, 3), return_indices=True)",
        "*F.max_pool2d(x[0], 3, 2, ceil_mode=True, return_indices=True)",
        "F.max_pool2d(x[0].double(), 2)",
        "F.max_pool2d((x[0] * 9).int(), 2, padding=1)",
        "F.max_pool2d(torch.full_like(x[0], -float('inf')), 3, 2, 1)",
        "F.max_pool2d(x[0][:, :, ::2].masked_fill(x[0][:, :, ::2] > 2, float('nan')), 3, 2, 1)",
    ),
    "max 3d": (
        VOLUMES,
        "{}",
        "*F.max_pool3d(x[0], 2, return_indices=True)",
        "*F.max_pool3d(x[0], 3, 2, 1, ceil_mode=True, return_indices=True)",
        "F.max_pool3d(x[0], (1, 2, 3), dilation=(1, 2, 1))",
    ),
    "average 1d": (LINES, "{}", "F.avg_pool1d(x[0], 3, 2, 1)", "F.avg_pool1d(x[0], 5, ceil_mode=True)"),
    "average 2d": (
        IMAGES,
        OTHER_IMAGES,
        "F.avg_pool2d(x[0], 3)",
        "F.avg_pool2d(x[0], 3, 2, 1)",
        "F.avg_pool2d(x[0], 3, 2, 1, count_include_pad=False)",
        "F.avg_pool2d(x[0], 2, divisor_override=3)",
        "F.avg_pool2d(x[0][0].double(), 2)",
        "F.lp_pool2d(x[0], 2, 3, 2)",
    ),
    "average 2d, rounded up": (
        IMAGES,
        "{}",
        "F.avg_pool2d(x[0], (3, 2), 2, 1, ceil_mode=True)",
        "F.avg_pool2d(x[0], 3, 2, 1, ceil_mode=True, count_include_pad=False)",
    ),
    "average 3d": (
        VOLUMES,
        "{}",
        "F.avg_pool3d(x[0], 2)",
        "F.avg_pool3d(x[0], 3, 2, 1, ceil_mode=True, count_include_pad=False)",
    ),
    "adaptive": (
        IMAGES,
        OTHER_IMAGES,
        "F.adaptive_avg_pool2d(x[0], 1)",
        "F.adaptive_avg_pool2d(x[0], (5, 3))",
        "F.adaptive_avg_pool2d(x[0], (None, 4))",
        "*F.adaptive_max_pool2d(x[0], (4, 5), return_indices=True)",
        "F.adaptive_avg_pool1d(x[0][:, 0], 4)",
        "F.adaptive_max_pool1d(x[0][:, 0], 4)",
        "F.adaptive_avg_pool3d(x[0], (2, 3, 1))",
        "F.adaptive_max_pool3d(x[0], (2, 3, 1))",
    ),
}


@pytest.mark.parametrize("case", POOLS.values(), ids=POOLS)
def test_pools(check: Check, case: tuple[str, ...]) -> None:
    inputs, variants, *results = case
    check(task_of(f"return ({', '.join(results)},)", inputs, variants=variants))


CONVOLUTIONS = {
    "plain": (
        IMAGES,
        OTHER_IMAGES,
        "nn.Conv2d(3, 4, (3, 2), padding=(1, 0), dilation=(2, 1))",
        "nn.Conv2d(3, 6, 3, stride=(2, 1), groups=3, bias=False)",
        "nn.Conv2d(3, 3, 3, padding='same', padding_mode='reflect')",
        "nn.Conv2d(3, 5, 1)",
    ),
    "transposed 1d": (
        LINES,
        '{"a": [torch.randn(3, 6, 8)]}',
        "nn.ConvTranspose1d(6, 4, 3)",
        "nn.ConvTranspose1d(6, 4, 5, stride=3, padding=2, output_padding=1, groups=2)",
        "nn.ConvTranspose1d(6, 5, 2, stride=3, bias=False)",
        "nn.ConvTranspose1d(6, 5, 3, stride=2, dilation=2, padding=1)",
        "nn.ConvTranspose1d(6, 5, 3, stride=2, dilation=3)",
        "nn.ConvTranspose1d(6, 1, 3, dilation=4, padding=5)",
    ),
    "transposed 2d": (
        IMAGES,
        OTHER_IMAGES,
        "nn.ConvTranspose2d(3, 4, 3, stride=2, padding=1, output_padding=1)",
        "nn.ConvTranspose2d(3, 6, (3, 5), stride=(1, 4), padding=(2, 1), groups=3)",
        "nn.ConvTranspose2d(3, 2, 4, stride=2, padding=1, bias=False)",
        "nn.ConvTranspose2d(3, 2, 1, stride=2)",
    ),
    "transposed 3d": (
        VOLUMES,
        "{}",
        "nn.ConvTranspose3d(2, 3, 3, stride=2, padding=1, output_padding=1)",
        "nn.ConvTranspose3d(2, 4, (3, 1, 2), stride=(1, 2, 2), groups=2)",
    ),
}


@pytest.mark.parametrize("case", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_convolutions(check: Check, case: tuple[str, ...]) -> None:
    inputs, variants, *layers = case
    init = f"self.layers = nn.ModuleList([{', '.join(layers)}])"
    check(task_of("return tuple(layer(x[0]) for layer in self.layers)", inputs, init, variants))
