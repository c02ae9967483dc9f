"""Kernels compute what PyTorch computes where machines, compilers and languages differ: every width of integers at its ends, NaN,
infinities, signed zeros, cancellation, half precision, promotion. One kernel answers many expressions."""

from __future__ import annotations

from pathlib import Path

import pytest

from kernelevolve.synthesis.builtin.fallback import fallback_calls
from kernelevolve.tasks.loading import draw_inputs, load_module
from tests.synthesis.rendering import render

from .conftest import THIS, Check, agree, load, task_of, traced

pytestmark = pytest.mark.thorough

EXACT = {"rtol": 3e-6, "atol": 1e-37}
"""Some units of rounding of single precision; whole numbers are compared exactly everywhere."""

ENDS = {
    "int8": "0, 1, -1, 2, -3, 5, 7, 64, 100, -100, 127, -128",
    "uint8": "0, 1, 2, 3, 5, 7, 64, 100, 127, 128, 200, 255",
    "int64": "0, 1, -1, 2, -3, 5, 7, 2**32, 2**31, -100, 2**63 - 1, -2**63",
}
COUNTS = "0, 1, 3, 7, 8, 31, 32, 63, 64, 100"


def pairs(first: str, second: str, dtype: str) -> str:
    """Two inputs, all pairs of two lists of numbers."""
    tensors = ", ".join(f"torch.tensor([{numbers}], dtype=torch.{dtype})" for numbers in (first, second))
    return f"*(t.reshape(-1).clone() for t in torch.meshgrid({tensors}, indexing='ij'))"


ARITHMETIC = """x - y, -x, x.abs(), x.sign(), (x * 3) // 3 == x, (-x) > y, (x + y) > x, x**12, x ^ y, ~x, torch.fmax(x, y), x > 0.5
x.clamp(3, 100), x.half(), x.to(torch.int8), x.to(torch.int16), x / 3, x.sum(), x.prod(), x.cumsum(0)
(x + y).to(torch.int32), (x * y).long(), x >> 70"""
DIVISION = """d // e, d % e, torch.fmod(d, e), torch.div(d, e, rounding_mode="trunc"), d % 5, (d + e) // 2, d // 2.5"""
BITS = """a << n, a >> n, torch.pow(a, n), a ** 0"""


def in_tuple(*parts: str) -> str:
    return "(" + ", ".join(line for part in parts for line in part.splitlines()) + ",)"


def test_long_sums_of_equal_values(check: Check) -> None:
    """Each rounding error of a sum of equal values has the same sign, so a chain of a million of them would be off."""
    forward = in_tuple(
        "x.sum((1, 2, 3)), x.mean(), x.sum((0, 2, 3)), x.flatten(1).var(1), x.sum(2), x.flatten(1).sum(0)[:5]"
    )
    check(
        task_of(f"x, = x; return {forward}", "[torch.full((3, 64, 96, 128), 0.7) + 0.1 * (torch.arange(128) > 63)]"),
        **EXACT,
    )


@pytest.mark.parametrize("dtype", ENDS)
def test_integers_of_every_width(check: Check, dtype: str) -> None:
    ends = ENDS[dtype]
    # The least number divided by -1 ends PyTorch's own process.
    divisors = ends.removeprefix("0, ") if dtype != "int64" else ends.replace("0, 1, -1", "1")
    counts = COUNTS if dtype == "uint8" else f"{COUNTS}, -1, -5"
    inputs = ", ".join([pairs(ends, ends, dtype), pairs(divisors, divisors, dtype), pairs(ends, counts, dtype)])
    forward = f"x, y, d, e, a, n = x; return {in_tuple(ARITHMETIC, DIVISION, BITS)}"
    check(task_of(forward, f"[{inputs}]"), **EXACT)


def test_truth_values(check: Check) -> None:
    """Those in memory are 0 or 1."""
    forward = in_tuple(
        "x + y, x * y, x ^ y, ~x, (x + y).sum(), (x ^ y).float().mean(), x.cumsum(0), x.prod(), x.amax(), torch.minimum(x, y)",
        "x < y, x + 1, x * 2.5, x.long() + y, torch.where(x, y, ~y), x + True, x.reshape(3, -1).any(1), (x + y).to(torch.uint8) + 3",
        "torch.zeros(2, dtype=torch.bool).index_put((torch.tensor([0, 1, 1] * 8),), x, accumulate=True)",
    )
    inputs = "[torch.tensor([True, False, True] * 8), torch.tensor([True, True, False, False] * 6)]"
    check(task_of(f"x, y = x; return {forward}", inputs))


EDGES = (
    "0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -3.0, 7.0, 0.1, 100.0, -300.0, 65504.0, 1e10, -1e10, 3e38, 1e-30, "
    "float('inf'), -float('inf'), float('nan'), 2.9999998, 88.0"
)
FLOATING = {
    "signs": "1 / (-x), 1 / x.round(), 1 / x.relu(), torch.copysign(x, y), x.signbit(), torch.atan2(x, y), x.sign(), x.trunc()",
    "order": """torch.maximum(x, y), torch.fmax(x, y), torch.fmin(x, y), x >= y, x.clamp(2, 1), x.clamp(min=float("nan")), x.clamp(y, y + 1)
torch.bucketize(x, torch.tensor([-1.0, 0.0, 1.0])), torch.searchsorted(torch.linspace(-2, 2, 100), x, right=True)""",
    "division": """torch.div(x, 0.1, rounding_mode="floor"), x // 3, (x.clamp(-1e4, 1e4)) % 0.7, torch.fmod(x.clamp(-1e4, 1e4), -0.7)
torch.div(x.clamp(-1e4, 1e4), y.clamp(0.1, 50), rounding_mode="floor"), torch.div(x, y, rounding_mode="trunc")""",
    "powers": """x**-1, x**0.5, x**-0.5, x.abs() ** float("inf"), (x.abs() + 2) ** float("-inf"), torch.pow(2.0, y), x ** float("nan")""",
    "cancellation": """(x + 1e7) - 1e7, (x * 3) - (x * 3), x * x - 2 * x * x + x * x, (x + y) - y, x / x - 1, torch.lerp(x, y, 1.0)
(x * y - y * x).sqrt(), torch.add(x, y, alpha=3)""",
    "functions": """x.log1p(), x.exp(), x.log(), torch.logaddexp(x, y)
torch.xlogy(0, y), torch.nan_to_num(x, 1.0, 2.0, 3.0), F.logsigmoid(x)""",
}


def test_floating_point_at_its_edges(check: Check) -> None:
    forward = f"x, y = x; return {in_tuple(*FLOATING.values())}"
    check(task_of(forward, f"[{pairs(EDGES, EDGES, 'float32')}]"), rtol=3e-6, atol=2e-8)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_rounds_after_every_operation(check: Check, dtype: str) -> None:
    forward = in_tuple(
        "x.float(), (x * 1.1 * 1.1).float(), (x + y - y).float(), (x * y + x).float(), torch.maximum(x, y).float(), (x > y), x == 0.1",
        "x.cumsum(0).float(), torch.where(x > 0, x, 0.1).float() * 3, (x / 3).float(), torch.full((3,), 0.1, dtype=x.dtype).float() * 3",
        "x.argmax(), x.reshape(2, -1).argmin(1), torch.bucketize(x, torch.tensor([-1.0, 0.1, 1.0]).to(x.dtype))",
        "torch.tensor([0.1, 2.5, float('inf')], dtype=x.dtype).float() * 3, torch.zeros(5).to(x.dtype).index_add(0, self.i, x[:16])",
        "z.to(x.dtype).float(), z.to(x.dtype).double().sum(), (z.to(x.dtype) + 1).float() - 1, i.to(x.dtype)",
    )
    inputs = f"(torch.randn(40) * 3).to(torch.{dtype}), torch.randn(40).to(torch.{dtype})"
    extra = "torch.randn(50) * torch.logspace(-9, 9, 50), torch.arange(-5, 5) * 3**25"
    init = "self.i = nn.Parameter(torch.tensor([0, 1, 1, 4] * 4), requires_grad=False)"
    check(task_of(f"x, y, z, i = x; return {forward}", f"[{inputs}, {extra}]", init), rtol=2e-7, atol=0.0)


def test_casts_of_what_does_not_fit(check: Check) -> None:
    outside = "float('nan'), float('inf'), -float('inf'), 255.9, 256.0, -0.9, 127.5, 128.0, -129.0, 32768.0, 70000.0, 2e9, -3e9, 9.3e18"
    forward = "x = x[0]; return " + in_tuple(
        "x.to(torch.int8), x.to(torch.uint8), x.to(torch.int16), x.to(torch.int32), x.long(), x.half(), x.bfloat16(), x.double(), x.bool()"
    )
    for dtype in ("float32", "float64"):
        check(task_of(forward, f"[torch.tensor([{outside}], dtype=torch.{dtype})]"), **EXACT)


def test_promotion(check: Check) -> None:
    """Tensors without dimensions and numbers count only where they are of a higher kind."""
    inputs = """[torch.arange(-8, 8, dtype=torch.int32) * 300000000, torch.tensor([-1, 1, 100, -100] * 4, dtype=torch.int8),
        torch.tensor([255, 1, 100, 200] * 4, dtype=torch.uint8), torch.tensor(5000000000), torch.randn(16),
        torch.tensor(1.5, dtype=torch.float64), torch.randn(16).half(), torch.randn(16).bfloat16(), torch.arange(16) * 2**59 - 2**62]"""
    forward = in_tuple(
        "b + c, b < c, b == c, b * c, torch.maximum(b, c), a < d.clamp(0, 7), a > d, e * f, e < f, g + h, g < h, g * f, l + e, l < e",
        "l > f, l == a, b + 1.5, c - 1, c > 1, b / c, a // c, b % c, e**c, d + f, g + 1e-4, h * 0.1, b & c, torch.cat([a, e])",
        "b @ b, c.sum(), b.cumsum(0), c.sum(dtype=torch.uint8), torch.arange(0, 1, 0.1) + f, torch.cat([b, c])",
    )
    check(task_of(f"a, b, c, d, e, f, g, h, l = x; return {forward}", inputs), rtol=1e-3, atol=1e-6)


def test_moments_of_any_correction_and_any_size_of_numbers(check: Check) -> None:
    forward = in_tuple(
        "*(t.var(dim=1, correction=c) for t in (a, c) for c in (0, 1.5, 7.5)), a.std(1, correction=0), a.std(1, correction=6.5)",
        "b.std(1), b.std(), (b * 1e-33 * 1e-27).std(1), d.var(1), torch.std_mean(b, 1)[0], torch.var_mean(d, 1)[1], b.mean(1)",
    )
    inputs = "[torch.randn(20, 6), torch.randn(12, 50) * 1e30, torch.randn(5, 1), torch.randn(8, 64) + 1e5]"
    check(task_of(f"a, b, c, d = x; return {forward}", inputs), **EXACT)


def test_reductions_of_nan_ties_and_orders(check: Check) -> None:
    inputs = """[torch.tensor([1.0, float("nan"), 3.0, -float("inf"), float("inf"), 3.0, float("nan"), -0.0, 2.0, 2.0]).repeat(13)[
        torch.randperm(130)].reshape(10, 13), torch.randint(0, 4, (9, 40)).float(), torch.randint(-3, 3, (9, 40)),
        torch.rand(20, 30) + 1]"""
    forward = in_tuple(
        "a.amax(1), a.amin(0), a.max(), a.argmax(1), a.argmin(0), a.argmax(), *a.max(1), *a.min(0), a.cumsum(1), a.cumprod(0), a.any(1)",
        "*torch.cummax(a, 1), *torch.cummin(a, 0), *torch.cummax(b, 1), *torch.cummin(c, 0), b.argmax(1), b.argmin(0)",
        "c.argmax(1), *c.max(0), torch.count_nonzero(b, 1), a.norm(p=float('inf'), dim=1), c.prod(0), c.cumprod(1), c.amax(1), c.sum(1)",
        ", ".join(f"r.norm(p={p}, dim=1)" for p in ("-2", "0", "0.5", "1", "3", "float('inf')", "-float('inf')")),
        "torch.linalg.vector_norm(r, 3, dim=(0, 1)), b.norm(p=0)",
    )
    check(task_of(f"a, b, c, r = x; return {forward}", inputs), rtol=3e-6, atol=1e-6)


def test_reductions_of_nothing(check: Check) -> None:
    forward = in_tuple(
        "a.sum(), a.mean(), a.prod(), a.mean(0), b.sum(1), b.mean(1), b.prod(1), a.any(), a.all(), a.var(), a.std(0), b.var(1), n.sum()",
        "torch.cat([a, c]) * 2, torch.var_mean(a)[1], b.norm(dim=1), a.t() + 1, b @ a, a.amax(1), a.cumsum(0), c[2:2].mean(0)",
        "F.softmax(b, 1), torch.logsumexp(b, 1), torch.cat([n, n + 1])",
    )
    inputs = "[torch.randn(0, 6), torch.randn(5, 0), torch.zeros(0, dtype=torch.int64), torch.randn(3, 6)]"
    check(task_of(f"a, b, n, c = x; return {forward}", inputs))


def test_a_long_running_sum_rounds_as_pytorchs(check: Check) -> None:
    check(task_of("return x[0].cumsum(0)", "[torch.rand(200000) + 100]"), rtol=2e-7, atol=0.0)


@pytest.mark.parametrize("part", ["nn.Parameter(torch.randn(10, 64))", "nn.Buffer(torch.randn(10, 64))"])
def test_a_concatenation_with_a_fixed_part_is_not_prepared(check: Check, part: str) -> None:
    forward = (
        "return torch.cat([self.prompt, x[0]], 0) * 2, torch.cat([self.prompt, self.prompt * 3]).tanh() @ x[0].t()"
    )
    variants = "{'a': [torch.randn(7, 64)]}"
    check(task_of(forward, "[torch.randn(300, 64)]", f"self.prompt = {part}", variants))


def test_what_follows_from_constants_alone_is_prepared(check: Check) -> None:
    assert "prepare" in check(
        task_of("return torch.bucketize(x[0], torch.tensor([-1.0, 0.0, 1.0]).half())", "[torch.randn(30).half()]")
    )


@pytest.mark.parametrize(
    ("forward", "inputs", "short"),
    [
        ("return x[0][:, -20:] * 2", "[torch.randn(30, 64)]", "[torch.randn(41, 12)]"),
        ("return x[0][:25].sum(0)", "[torch.randn(30, 64)]", "[torch.randn(9, 12)]"),
        ("return x[0].squeeze(0) * 2", "[torch.randn(30, 64)]", "[torch.randn(1, 64)]"),
    ],
    ids=["tail", "head", "squeeze"],
)
def test_sizes_that_the_trace_does_not_hold_for_take_the_references_operations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forward: str, inputs: str, short: str
) -> None:
    task = task_of(forward, inputs, variants=f"{{'short': {short}}}")
    module = load(render(traced(task), THIS, task, ())[0], tmp_path, monkeypatch)
    model, loaded = module.ModelNew(), load_module(task)
    for variant, calls in ((None, 0), ("short", 1)):
        model(*draw_inputs(loaded, 3, variant))
        assert fallback_calls(model) == calls
    agree(task, module)
