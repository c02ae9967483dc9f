"""Small references, each with a turn that kernels and judges of kernels are known to get wrong."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

_FILE = """\
import collections

import torch
import torch.nn.functional as F
from torch import nn


class Model(nn.Module):
    def __init__(self):
        super().__init__()
{init}

    def forward(self, {arguments}):
{forward}


def get_inputs():
    return [{inputs}]
"""
_VARIANTS = """

def get_input_variants():
    return {{{variants}}}
"""


@dataclass(frozen=True)
class SmallOperator:
    """A reference in a few lines."""

    name: str
    arguments: str
    inputs: str
    forward: str
    init: str = "pass"
    variants: str = ""

    @property
    def source(self) -> str:
        """The task's file."""
        text = _FILE.format(
            init=textwrap.indent(textwrap.dedent(self.init).strip(), " " * 8),
            arguments=self.arguments,
            forward=textwrap.indent(textwrap.dedent(self.forward).strip(), " " * 8),
            inputs=self.inputs,
        )
        return text + (_VARIANTS.format(variants=self.variants) if self.variants else "")


_X = "torch.randn(120, 90)"
_BYTES = "torch.randint(0, 256, (90, 70), dtype=torch.uint8)"

INTEGERS = [
    SmallOperator(
        "bytes_wrap", "a, b", f"{_BYTES}, {_BYTES}", "return (a + b) // 2, (-a) > 100, (a * b).to(torch.int32), a - b"
    ),
    SmallOperator(
        "short_integers_wrap",
        "a, b",
        "torch.randint(-32768, 32768, (80, 60), dtype=torch.int16), torch.randint(-128, 128, (80, 60), dtype=torch.int8)",
        "return a + a, b * b, a * b, b - 100, b.abs(), torch.bitwise_not(b), (a << 3) >> 2",
    ),
    SmallOperator(
        "whole_numbers_overflow",
        "x",
        "torch.tensor([2**63 - 1, -(2**63), 5, 2**62, -7, 0]).repeat(400)[torch.randperm(2400)]",
        "return (x + 1) > x, (x * 3) // 3 == x, (-x) < 0, x.abs(), x * x",
    ),
    SmallOperator(
        "integer_powers",
        "a, b",
        "torch.randint(-9, 10, (80, 70)), torch.randint(0, 24, (80, 70))",
        "return torch.pow(a, b), a**12, 3 ** b.clamp(max=9), a.to(torch.int8) ** 3",
    ),
    SmallOperator("hash_of_bits", "x", "torch.randint(0, 2**30, (90, 80))", "return (x ^ (x >> 13)) * 7, (x << 5) | 3"),
    SmallOperator(
        "division_of_integers",
        "a, b",
        "torch.randint(-50, 50, (80, 70)), torch.randint(1, 9, (80, 70))",
        """
        down = torch.div(a, b, rounding_mode="floor")
        cut = torch.div(a, -b, rounding_mode="trunc")
        return down, cut, a % b, torch.remainder(a, -b), torch.fmod(a, b), a / b
        """,
    ),
    SmallOperator(
        "booleans",
        "a, b",
        "torch.rand(90, 80) > 0.5, torch.rand(90, 80) > 0.5",
        "return a + b, a * b, (a + b).sum(1), (a ^ b).float().mean(1), a.any(0), a.all(0), a & ~b",
    ),
]

STEPS = [
    SmallOperator("floor_of_cosine", "x", "torch.randn(90, 80) * 30", "return torch.floor(torch.cos(x) * 64)"),
    SmallOperator(
        "floor_division",
        "x",
        "torch.randint(0, 200, (90, 80)).float() / 10",
        'return torch.div(x, 0.1, rounding_mode="floor"), x // 0.3, torch.remainder(x, 0.1)',
    ),
    SmallOperator(
        "rounding_half_to_even", "x", "torch.randint(-40, 40, (90, 80)).float() / 4", "return torch.round(x)"
    ),
    SmallOperator("cancellation", "x", _X, "return (x + 1e7) - 1e7"),
    SmallOperator("layer_norm_far_from_zero", "x", "torch.randn(60, 128) + 1e5", "return F.layer_norm(x, (128,))"),
    SmallOperator("written_roundings", "x", _X, "y = x.half().float()\nreturn y, y.sum(1), x.bfloat16() * 3"),
    SmallOperator(
        "buckets",
        "x",
        _X,
        "return torch.bucketize(x, self.edges), torch.bucketize(x, self.edges, right=True)",
        init='self.register_buffer("edges", torch.linspace(-3, 3, 41))',
    ),
    SmallOperator(
        "buckets_of_nan",
        "x",
        _X,
        "return torch.bucketize(torch.log(x), self.edges)",
        init='self.register_buffer("edges", torch.linspace(-3, 1, 41))',
    ),
    SmallOperator("index_of_the_largest", "x", _X, "return x.argmax(1), (x * 100).round().argmin(0)"),
]

FLOATS = [
    SmallOperator(
        "fmax_ignores_nan", "x, y", f"{_X}, {_X}", "return torch.fmax(x.sqrt(), y), torch.maximum(x.sqrt(), y)"
    ),
    SmallOperator(
        "infinite_powers",
        "x",
        _X,
        'return torch.pow(x.abs(), float("inf")) + torch.pow(x.abs() + 2, float("-inf"))',
    ),
    SmallOperator(
        "fractional_correction", "x", "torch.randn(90, 6)", "return x.var(1, correction=1.5), x.std(1, correction=0)"
    ),
    SmallOperator("huge_deviation", "x", "torch.randn(90, 80) * 1e30", "return x.std(dim=-1)"),
    SmallOperator(
        "norms_of_every_order",
        "x",
        "torch.rand(70, 60) + 1",
        """
        matrix = torch.linalg.vector_norm(x, 3, dim=(0, 1))
        return x.norm(p=-2, dim=1), x.norm(p=0, dim=1), x.norm(p=float("inf"), dim=0), matrix
        """,
    ),
    SmallOperator(
        "nothing_to_reduce",
        "x, y",
        "torch.randn(60, 50), torch.randn(0, 50)",
        "return torch.cat([x, y], 0) * 2, y.sum(), torch.var_mean(y)[1], y.prod(), y.sum(0), y.mean(0)",
    ),
    SmallOperator(
        "ties",
        "x",
        "torch.randn(70, 60)",
        """
        values, places = torch.sort(torch.round(x), dim=1, descending=True, stable=True)
        top = torch.topk(x, 5, 1)
        return values, places, top.values, top.indices, torch.median(x, 1).values
        """,
    ),
    SmallOperator("running_largest", "x", "torch.randn(60, 50)", "return torch.cummax(x, 1).values + 1, x.cumsum(0)"),
    SmallOperator("float8", "x", _X, "return x.to(torch.float8_e4m3fn).to(torch.float32)"),
    SmallOperator("spectrum", "x", "torch.randn(40, 64)", "return torch.fft.rfft(x)"),
]

STRUCTURES = [
    SmallOperator("dict_of_results", "x", _X, 'return {"a": x * 2, "b": x.sum()}'),
    SmallOperator(
        "named_results",
        "x",
        _X,
        "return self.kind(x + 1, [x.sum(), None], 3)",
        init='self.kind = collections.namedtuple("Kind", ["first", "second", "count"])',
    ),
    SmallOperator(
        "list_of_inputs",
        "xs, w",
        "[torch.randn(48, 20), torch.randn(48, 30)], torch.randn(50, 24)",
        "return torch.cat(xs, 1) @ w",
    ),
    SmallOperator(
        "dict_of_inputs",
        "batch, scale=2.0",
        '{"x": torch.randn(48, 20), "mask": torch.rand(48, 20) > 0.3}',
        'return torch.where(batch["mask"], batch["x"] * scale, 0.0)',
    ),
    SmallOperator("one_result_twice", "x", _X, "y = F.gelu(x)\nreturn y, y, y[:, 0]"),
    SmallOperator("the_input_itself", "x", _X, "return x, x * 2, x.t()"),
    SmallOperator(
        "expanded_input", "a, b", "torch.randn(60, 50), torch.randn(1, 50).expand(60, 50)", "return F.silu(a) * b"
    ),
    SmallOperator("sliced_input", "a", "torch.randn(60, 41)[:, :-1]", "return F.silu(a) * 2"),
    SmallOperator(
        "overlapping_input", "a", "torch.randn(500).unfold(0, 20, 5)", "return a * 2 + a.sum(1, keepdim=True)"
    ),
    SmallOperator("changes_its_input", "x", _X, "y = F.relu(x, inplace=True)\nreturn x + y"),
    SmallOperator(
        "attributes_with_common_names",
        "x",
        "torch.randn(48, 40)",
        "return torch.tanh(torch.cat([x, self.state], 1) @ self.forward_mix)",
        init="self.state = torch.randn(48, 32)\nself.forward_mix = torch.randn(72, 24)",
    ),
    SmallOperator(
        "learned_rows_before",
        "x",
        "torch.randn(60, 32)",
        "return torch.cat([self.prompt, x], 0) * 2",
        init="self.prompt = nn.Parameter(torch.randn(10, 32))",
    ),
    SmallOperator(
        "last_rows", "x", "torch.randn(60, 64)", "return x[:, -20:] * 2", variants='"short": [torch.randn(41, 12)]'
    ),
    SmallOperator(
        "compiled_inside",
        "x",
        _X,
        "return self.act(x) + 1",
        init="self.act = torch.compile(lambda x: F.silu(x) * 2)",
    ),
]

LAYERS = [
    SmallOperator(
        "pools_with_ceil",
        "x",
        "torch.randn(2, 4, 30, 31)",
        """
        counted = F.avg_pool2d(x, 3, 2, 1, ceil_mode=True)
        uncounted = F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False)
        return counted, uncounted, F.max_pool2d(x, 1, 2, ceil_mode=True)
        """,
    ),
    SmallOperator(
        "padding_modes",
        "x",
        "torch.randn(2, 8, 12, 13)",
        "return self.b(F.relu(self.a(x))), self.t(x)",
        init="""
        self.a = nn.Conv2d(8, 12, 3, padding=2, dilation=2, groups=4, padding_mode="circular")
        self.b = nn.Conv2d(12, 6, 3, padding="same", padding_mode="reflect")
        self.t = nn.ConvTranspose2d(8, 4, 3, stride=2, output_padding=1)
        """,
    ),
    SmallOperator(
        "bags_of_embeddings",
        "ids, offsets",
        "torch.randint(0, 50, (200,)), torch.tensor([0, 0, 10, 10, 150, 200])",
        "return self.mean(ids, offsets), self.most(ids, offsets), self.total(ids, offsets)",
        init="""
        self.mean = nn.EmbeddingBag(50, 16, mode="mean")
        self.most = nn.EmbeddingBag(50, 16, mode="max")
        self.total = nn.EmbeddingBag(50, 16, mode="sum", padding_idx=3)
        """,
    ),
    SmallOperator(
        "recurrent_both_ways",
        "x",
        "torch.randn(4, 9, 16)",
        "out, h = self.rnn(x)\nreturn out, h",
        init="self.rnn = nn.GRU(16, 24, num_layers=2, batch_first=True, bidirectional=True)",
    ),
    SmallOperator(
        "batch_norm_in_training",
        "x",
        "torch.randn(6, 8, 10, 11)",
        "return F.relu(self.norm(self.conv(x)))",
        init="self.conv = nn.Conv2d(8, 12, 3)\nself.norm = nn.BatchNorm2d(12)",
    ),
    SmallOperator(
        "group_norm_swish",
        "x",
        "torch.randn(3, 8, 10, 11)",
        "return F.silu(self.norm(x))",
        init="self.norm = nn.GroupNorm(4, 8)",
    ),
]

SMALL_OPERATORS = {o.name: o for o in (*INTEGERS, *STEPS, *FLOATS, *STRUCTURES, *LAYERS)}
