"""Operations that ours or PyTorch's decompositions express agree with PyTorch."""

from __future__ import annotations

import pytest

from tests.synthesis.rendering import text_of

from .conftest import THIS, Check, task_of, traced

pytestmark = pytest.mark.thorough

IMAGES = "[torch.randn(2, 3, 6, 8), torch.rand(2, 5, 4, 2) * 2.4 - 1.2]"
OTHER = "{'a': [torch.randn(1, 3, 9, 5), torch.rand(1, 3, 7, 2) * 2.4 - 1.2]}"
RESIZED = {
    "interpolate": """F.interpolate(a, scale_factor=2, mode='bilinear'), F.interpolate(a, (9, 11), mode='bilinear', align_corners=True),
        F.interpolate(a, scale_factor=2), F.interpolate(a, size=(4, 13)), F.interpolate(a, scale_factor=1.5, mode='nearest-exact'),
        F.interpolate(a[0], scale_factor=2, mode='linear'), F.interpolate(a, size=(3, 4), mode='area')""",
    "bicubic": "F.interpolate(a, scale_factor=2, mode='bicubic')",
    "smoothly": """F.interpolate(a, (3, 5), mode='bilinear', antialias=True), F.interpolate(a, (9, 4), mode='bicubic', antialias=True),
        F.interpolate(a, (4, 4), mode='bilinear', antialias=True, align_corners=True)""",
    "grids": """F.grid_sample(a, g, align_corners=False), F.grid_sample(a, g, padding_mode='border', align_corners=True),
        F.grid_sample(a, g, mode='nearest', padding_mode='reflection', align_corners=False)""",
    "pads": "*(F.pad(a, (1, 2, 2, 1), mode=m) for m in ('reflect', 'replicate', 'circular'))",
    "folds": "F.unfold(a, 3, padding=1, stride=2), F.fold(F.unfold(a, 2) * 2, a.shape[2:], 2), F.pixel_shuffle(a.repeat(1, 4, 1, 1), 2)",
}


@pytest.mark.parametrize("results", RESIZED.values(), ids=RESIZED)
def test_images(check: Check, results: str) -> None:
    check(task_of(f"a, g = x; return ({results},)", IMAGES, variants=OTHER))


@pytest.mark.parametrize("mode", ["circular", "reflect", "replicate"])
def test_convolutions_that_pad_otherwise(check: Check, mode: str) -> None:
    init = f"self.c = nn.Conv2d(3, 4, 3, padding=(1, 2), padding_mode='{mode}')"
    check(task_of("return self.c(x[0])", "[torch.randn(2, 3, 9, 8)]", init, "{'a': [torch.randn(1, 3, 7, 12)]}"))


def test_what_pytorch_has_no_decomposition_for(check: Check) -> None:
    init = "self.b = nn.Bilinear(6, 6, 7)"
    forward = """a, b, s = x; return (a.repeat_interleave(3, 1), a.repeat_interleave(2), torch.cdist(a, b), torch.cdist(a, b, p=1.0),
        self.b(a, b[:5]), torch.histc(a, 10, -3, 3), torch.histc(a, 4), torch.histc(a * 0, 3),
        torch.fake_quantize_per_channel_affine(a, s, torch.zeros(6, dtype=torch.int32), 1, -5, 6),
        torch.addbmm(a[:, :5], a.reshape(5, 2, 3)[:, :1].transpose(1, 2).repeat(1, 2, 1)[:, :5], b[:5, None, :5], beta=0.5, alpha=2))"""
    check(task_of(forward, "[torch.randn(5, 6), torch.randn(9, 6), torch.rand(6) * 0.2 + 0.01]", init))


def test_heads_that_share_keys(check: Check) -> None:
    """The number of query heads follows from the number of key heads, which a later input has."""
    forward = "q, k = x; return q @ k.repeat_interleave(3, dim=1).transpose(-1, -2)"
    shapes = "[torch.randn(2, 6, 5, 8), torch.randn(2, 2, 7, 8)]"
    check(task_of(forward, shapes, variants="{'a': [torch.randn(1, 9, 4, 8), torch.randn(1, 3, 5, 8)]}"))


def test_attention_modules(check: Check) -> None:
    """Between a product and the next one lie only views."""
    init = "self.a = nn.MultiheadAttention(16, 4, batch_first=True).eval()"
    check(task_of("return self.a(x[0], x[0], x[0])", "[torch.randn(2, 9, 16)]", init))


def test_steps_that_read_the_one_before_at_several_places_do_not_double_the_code() -> None:
    """As in recurrences over time, and in stencils."""
    texts = []
    for steps in (4, 16):
        forward = f"a = x[0]\n        for _ in range({steps}): a = torch.tanh(a + a.roll(1, 1) * 0.5)\n        return a"
        texts.append(len(text_of(traced(task_of(forward, "[torch.randn(20, 50)]")), THIS)))
    assert texts[1] < 6 * texts[0]


def test_a_place_that_is_a_size_is_no_axis(check: Check) -> None:
    """All rows read the one behind the input's last, which another thread may be writing if rows were taken to be independent."""
    forward = "n = x[0].shape[0]; a = F.pad(x[0], (0, 0, 0, 2), value=1.0).cumsum(1); return a * 2 + a[n : n + 1]"
    check(task_of(forward, "[torch.randn(70, 30)]", variants="{'a': [torch.randn(90, 5)]}"))


def test_parts_that_are_written_one_by_one(check: Check) -> None:
    forward = """a, b = x; n = a.shape[1]; c = torch.empty_like(a); c[:, 0::2] = a[:, 1::2] * 2; c[:, 1::2] = b[:, 0::2]
        d = a.clone(); d[1:-1, 2:-2] = (a[:-2, 2:-2] + a[2:, 2:-2]) * 0.5; d[-1] = b[0]; d[:, 3] += 1; d[2:5:2] = 7; e = a.clone(); e[:] = b
        return c, d, e, torch.arange(n) % 5 + a[:, torch.arange(n) // 2], a[torch.arange(a.shape[0] - 1, -1, -1)]"""
    inputs = "[torch.randn(9, 14), torch.randn(9, 14)]"
    check(task_of(forward, inputs, variants="{'a': [torch.randn(6, 20), torch.randn(6, 20)]}"))


def test_slopes_of_channels(check: Check) -> None:
    init = "self.a, self.b = nn.PReLU(3), nn.PReLU()"
    check(task_of("return self.a(x[0]), self.b(x[0]), self.b(x[0][0, 0, 0])", IMAGES, init, OTHER))


def test_diagonals_and_strides(check: Check) -> None:
    forward = """a, n = x; b = a.clone(); b.fill_diagonal_(0); c = (a * 2).as_strided((3, 2), (4, 1), 1)
        return b, c, a * n.item(), a[: math.ceil(a.shape[0] / 2)].sum(0)"""
    inputs = "[torch.randn(7, 7), torch.tensor(1.5)]"
    check(task_of(f"import math; {forward}", inputs, variants="{'a': [torch.randn(12, 12), torch.tensor(-2.0)]}"))
