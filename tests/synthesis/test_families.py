"""Drafts of whole families of operators agree with PyTorch, on the traced shapes and on others."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kernelevolve.core.errors import UserError
from kernelevolve.core.kernel import KnobValue
from kernelevolve.synthesis.builtin.aten_seed import aten_kernel
from kernelevolve.synthesis.builtin.cpp.limits import CpuLimits
from kernelevolve.synthesis.builtin.cpp.statements.product import tile_size
from kernelevolve.synthesis.builtin.plan.schedule import shared_axes
from kernelevolve.synthesis.builtin.tracing import Untraced, trace_task
from kernelevolve.synthesis.traced.program import Program, Scatter
from kernelevolve.tasks.loading import build_model, draw_inputs, load_module
from tests.synthesis.rendering import render, text_of

from .conftest import THIS, Check, flat, task_of, traced

pytestmark = pytest.mark.thorough

PRODUCTS = (
    '{n: [torch.randn(m, 40), torch.randn(40, c)] for n, m, c in [("one", 1, 53), ("even", 24, 53), ("tall", 70, 53)]}'
)
ROWS = "[torch.randn(37, 50)]"
OTHER = '{"a": [torch.randn(5, 50)], "b": [torch.randn(64, 50)]}'

POINTWISE = {
    "chain": "return torch.tanh(x[0] * 2 + 1).exp() - x[0].sigmoid()",
    "gelu": "return F.gelu(x[0]) + F.gelu(x[0], approximate='tanh')",
    "where": "return torch.where(x[0] > 0, x[0].sqrt(), -x[0]).clamp(0.1, 1.5)",
    "silu": "return F.silu(x[0]) * F.leaky_relu(x[0], 0.1) + F.elu(x[0])",
    "logs": "return torch.log(x[0].abs() + 1e-3) + torch.log1p(x[0].abs()) + F.softplus(x[0])",
    "powers": "return x[0] ** 3 + x[0].abs() ** 0.5 + (x[0].abs() + 1) ** -1.5",
    "trigonometry": "return torch.sin(x[0]) + torch.cos(x[0]) * torch.atan(x[0]) + torch.erf(x[0])",
    "integers": "return (x[0] * 10).long() // 3 + (x[0] * 10).long() % 4",
    "comparisons": "return ((x[0] > 0.5) | (x[0] < -0.5)) & (x[0] != 0)",
    "broadcast": "return x[0] + x[0][:, :1] * x[0][:1, :] + torch.arange(50)",
}
REDUCTIONS = {
    "softmax": "return F.softmax(x[0], -1)",
    "log_softmax": "return F.log_softmax(x[0], 1)",
    "layer_norm": "return F.layer_norm(x[0], (50,))",
    "rms": "return x[0] * torch.rsqrt(x[0].pow(2).mean(-1, keepdim=True) + 1e-6)",
    "column_sum": "return x[0].sum(0), x[0].mean(0), x[0].amax(0)",
    "total": "return x[0].sum(), x[0].mean(), x[0].max()",
    "variance": "return x[0].var(1), x[0].std(dim=1, unbiased=False)",
    "arg": "return x[0].argmax(1), x[0].argmin(0), x[0].argmax()",
    "any_all": "return (x[0] > 2).any(1), (x[0] > -9).all(0)",
    "scan": "return x[0].cumsum(1), x[0].cumsum(0)",
    "norm": "return x[0] / x[0].norm(dim=1, keepdim=True)",
    "loss": "return F.mse_loss(x[0], x[0].roll(1, 0)) + F.smooth_l1_loss(x[0], x[0] * 2)",
    "prod": "return (x[0] * 0.1 + 1).prod(1)",
    "logsumexp": "return torch.logsumexp(x[0], 1)",
}
NAN = "[torch.randn(37, 50).masked_fill(torch.rand(37, 50) < 0.05, float('nan'))]"
WITH_NAN = {
    "clamp": "return x[0].clamp(-0.5, 0.5), x[0].relu(), x[0].clamp(min=0.1), F.hardtanh(x[0])",
    "maximum": "return torch.maximum(x[0], x[0].flip(1)), torch.minimum(x[0].flip(0), x[0])",
    "rows": "return x[0].amax(1), x[0].amin(1), x[0].amax(0), x[0].max()",
}
MOVEMENT = {
    "transpose": "return x[0].t().contiguous() * 2",
    "reshape": "return x[0].reshape(-1, 5, 10).permute(1, 0, 2).reshape(5, -1) + 1",
    "cat": "return torch.cat([x[0], x[0][:, :7] * 2, x[0].relu()], 1)",
    "stack": "return torch.stack([x[0], x[0] + 1], 1)",
    "slices": "return x[0][:, 3:40:2] - x[0][:, 4:41:2]",
    "pad": "return F.pad(x[0], (2, 3, 1, 0), value=1.5)",
    "flip": "return x[0].flip(1) + x[0].flip(0)",
    "roll": "return x[0].roll((1, -2), (0, 1)) + x[0].roll(60, 1) + x[0].rot90()[:1, :1]",
    "split": "a, b = x[0].split(25, 1); return a * torch.sigmoid(b)",
    "repeat": "return x[0].repeat(2, 3)",
    "expand": "return x[0][:, None, :].expand(-1, 4, -1) * torch.ones(4, 1)",
    "awkward reshape": "return x[0].reshape(25, -1) * 3",
}


@pytest.mark.parametrize("forward", [*POINTWISE.values(), *REDUCTIONS.values()], ids=[*POINTWISE, *REDUCTIONS])
def test_rows(check: Check, forward: str) -> None:
    check(task_of(forward, ROWS, variants=OTHER))


@pytest.mark.parametrize("forward", ["F.gelu(x[0])", "0.5 * x[0] * (1 + torch.tanh(x[0]))", "F.mish(x[0])"])
def test_infinities_go_where_they_go_in_float64(check: Check, forward: str) -> None:
    """PyTorch's own GELU of infinity is NaN in float32 on some processors."""
    inputs = "[torch.tensor([-float('inf'), -1e30, -20.0, -9.5, 0.0, 9.5, 20.0, 1e30, float('inf')]).repeat(8, 7)]"
    check(task_of(f"return {forward}", inputs), double=True)


def test_exponentials_are_right_up_to_where_they_overflow_and_vanish(check: Check) -> None:
    inputs = "[torch.cat([torch.linspace(-87.3, -86.9, 800), torch.linspace(88.3, 88.72, 800), torch.tensor([88.73, -104.0])])]"
    check(task_of("return torch.exp(x[0])", inputs), rtol=1e-6, atol=1e-40, double=True)


@pytest.mark.parametrize("forward", WITH_NAN.values(), ids=WITH_NAN)
def test_nan_goes_where_it_goes_in_pytorch(check: Check, forward: str) -> None:
    check(task_of(forward, NAN))


@pytest.mark.parametrize("forward", MOVEMENT.values(), ids=MOVEMENT)
def test_data_movement(check: Check, forward: str) -> None:
    check(task_of(forward, ROWS))


@pytest.mark.parametrize(
    ("forward", "inputs", "init"),
    [
        ("return x[0] @ x[1]", "[torch.randn(33, 70), torch.randn(70, 45)]", "pass"),
        ("return F.relu(self.l(x[0]))", "[torch.randn(9, 11, 32)]", "self.l = nn.Linear(32, 24)"),
        ("return torch.bmm(x[0], x[1].transpose(1, 2))", "[torch.randn(20, 7, 16), torch.randn(20, 9, 16)]", "pass"),
        ("return F.gelu(self.c(x[0]))", "[torch.randn(6, 8, 40)]", "self.c = nn.Conv1d(8, 12, 3, padding=1)"),
        (
            "return self.c(x[0])",
            "[torch.randn(3, 8, 14, 15)]",
            "self.c = nn.Conv2d(8, 6, 3, stride=2, padding=1, groups=2)",
        ),
        ("return F.scaled_dot_product_attention(x[0], x[0], x[0])", "[torch.randn(2, 3, 17, 16)]", "pass"),
        ("return x[0] @ x[1]", "[torch.randn(33, 70), torch.randn(70)]", "pass"),
        (
            "return self.b(F.silu(self.a(x[0])))",
            "[torch.randn(50, 20)]",
            "self.a = nn.Linear(20, 31); self.b = nn.Linear(31, 5)",
        ),
        ("return x[0].reshape(-1, 24) @ x[1]", "[torch.randn(8, 15, 6), torch.randn(24, 40)]", "pass"),
        ("return torch.einsum('bnd,bnk->bdk', x[0], x[1])", "[torch.randn(20, 5, 16), torch.randn(20, 5, 8)]", "pass"),
    ],
    ids=["mm", "linear", "bmm", "conv1d", "conv2d", "attention", "mv", "mlp", "across", "einsum"],
)
def test_products(check: Check, forward: str, inputs: str, init: str) -> None:
    check(task_of(forward, inputs, init))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("vector_bytes", "height", "width"), [(16, 14, 1), (16, 1, 3), (32, 6, 4), (32, 14, 1), (64, 1, 3), (64, 6, 4)]
)
def test_products_on_every_width_of_vectors(
    check: Check, vector_bytes: int, height: int, width: int, packed: bool
) -> None:
    """Fewer rows and columns than a tile, exactly as many, some more."""
    task = task_of("return x[0] @ x[1]", "[torch.randn(19, 40), torch.randn(40, 53)]", variants=PRODUCTS)
    target = CpuLimits(vector_bytes, 16 if vector_bytes < 64 else 32, 32768)
    name = next(n for n in dict(render(traced(task), target, task, ())[1]) if n.startswith("pack."))
    buffer = name.removeprefix("pack.")
    tile: dict[str, KnobValue] = {f"mr.{buffer}": height, f"nv.{buffer}": width}
    check(task, {"vector_bytes": vector_bytes, name: packed, **tile})


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64", "uint8"])
def test_transposed_copies(check: Check, dtype: str) -> None:
    inputs = f"[(torch.randn(3, 37, 50) * 9).to(torch.{dtype})]"
    variants = f'{{n: [torch.ones(2, *s).cumsum(2).to(torch.{dtype})] for n, s in [("a", (5, 50)), ("b", (64, 50))]}}'
    space = check(
        task_of("return x[0].transpose(1, 2).contiguous(), x[0].permute(2, 1, 0) * 1", inputs, variants=variants)
    )
    assert any(n.startswith("transpose.") for n in space) == (dtype != "uint8")


def test_a_matrix_times_a_vector_copies_nothing(check: Check) -> None:
    forward = "return torch.bmm(x[0], x[1][:, :, None]).squeeze(2)"
    space = check(task_of(forward, "[torch.randn(20, 17, 33), torch.randn(20, 33)]"))
    assert not any(n.startswith(("transpose.", "mr.")) for n in space)


def test_large_tables_are_asked_for_in_large_pages_once(check: Check) -> None:
    init = "self.e = nn.Embedding(20000, 64)"
    space = check(task_of("return self.e(x[0]) * 2", "[torch.randint(0, 20000, (9, 4))]", init))
    assert "huge_pages" in space
    check(task_of("return self.e(x[0]) * 2", "[torch.randint(0, 20000, (9, 4))]", init), {"huge_pages": False})
    assert "huge_pages" not in check(
        task_of("return self.e(x[0])", "[torch.randint(0, 9, (4,))]", "self.e = nn.Embedding(9, 4)")
    )


def test_statements_that_read_the_same_rows_share_a_loop() -> None:
    """The second result needs nothing of the first, but walks through the same input."""
    program = trace_task(task_of("return F.softmax(x[0], 1), x[0].abs().cumsum(1)", ROWS))
    assert isinstance(program, Program)
    text = text_of(program, THIS)
    assert "group0(" in text
    assert "group1(" not in text


@given(
    rows=st.integers(1, 300),
    columns=st.integers(1, 300),
    lanes=st.sampled_from([2, 4, 8, 16]),
    arm=st.sampled_from([16, 32]),
)
def test_a_tile_fits_the_registers(rows: int, columns: int, lanes: int, arm: int) -> None:
    height, width = tile_size(rows, columns, lanes, arm)
    assert height * width + width < arm
    assert width == 1 or width * lanes <= max(columns, lanes)


@pytest.mark.parametrize(
    ("forward", "inputs", "init"),
    [
        ("return self.e(x[0])", "[torch.randint(0, 30, (9, 4))]", "self.e = nn.Embedding(30, 8)"),
        (
            "return self.e(x[0], x[1])",
            "[torch.randint(0, 30, (40,)), torch.tensor([0, 3, 3, 20])]",
            "self.e = nn.EmbeddingBag(30, 8, mode='sum')",
        ),
        ("return torch.gather(x[0], 1, x[1])", "[torch.randn(9, 12), torch.randint(0, 12, (9, 5))]", "pass"),
        ("return x[0][x[1]]", "[torch.randn(9, 12), torch.randint(-9, 9, (20,))]", "pass"),
        (
            "return torch.bucketize(x[0], self.b), torch.searchsorted(self.b, x[0], right=True)",
            "[torch.randn(100)]",
            "self.register_buffer('b', torch.randn(200).sort().values)",
        ),
        ("return torch.zeros(12).index_add(0, x[1], x[0])", "[torch.randn(40), torch.randint(0, 12, (40,))]", "pass"),
        ("return x[0].scatter_add(1, x[1], x[0])", "[torch.randn(9, 12), torch.randint(0, 12, (9, 12))]", "pass"),
        ("return x[0].index_select(1, x[1])", "[torch.randn(9, 12), torch.randint(0, 12, (5,))]", "pass"),
        (
            "return x[0].t().reshape(6, 18).index_select(1, x[1]), F.embedding(x[1], x[0].t().reshape(18, 6))",
            "[torch.randn(9, 12), torch.randint(0, 18, (5,))]",
            "pass",
        ),
    ],
    ids=["embedding", "bag", "gather", "index", "search", "index_add", "scatter_add", "index_select", "split"],
)
def test_indexing(check: Check, forward: str, inputs: str, init: str) -> None:
    check(task_of(forward, inputs, init))


@pytest.mark.parametrize(
    ("forward", "init"),
    [
        ("return x[0].sort(1).values", "pass"),
        ("return x[0].topk(3, 1)[0], x[0].relu()", "pass"),
        ("return self.b(x[0])", "self.b = nn.BatchNorm1d(50)"),
    ],
    ids=["sort", "topk", "batch norm that learns"],
)
def test_the_aten_graph_as_a_kernel(forward: str, init: str) -> None:
    task = task_of(forward, ROWS, init, OTHER)
    loaded = load_module(task)
    kernel = aten_kernel(task, build_model(loaded, 0), draw_inputs(loaded, 0))
    module = ModuleType("seed")
    exec(compile(kernel.source, "kernel.py", "exec"), module.__dict__)
    reference, candidate = build_model(loaded, 0), module.ModelNew()
    with torch.no_grad():
        for variant in (None, "a", "b"):
            x = draw_inputs(loaded, 0, variant)
            for want, got in zip(flat(reference(*x)), flat(candidate(*x)), strict=True):
                torch.testing.assert_close(got, want)
    for name, buffer in reference.named_buffers():
        torch.testing.assert_close(candidate.get_buffer(name), buffer)


def test_a_reference_that_raises_is_named_with_its_line_before_a_seed_is_looked_for() -> None:
    with pytest.raises(UserError, match=r"task test, line 14: forward raised NameError: name 'y' is not defined"):
        trace_task(task_of("return y[0]", ROWS))


def test_what_has_no_graph_says_so() -> None:
    found = trace_task(task_of("return x[0][x[0].sum(1) > float(x[0].max())] if x[0].sum().item() > 0 else x[0]", ROWS))
    assert isinstance(found, Untraced)
    assert found.why.startswith("the traced form lacks torch.export: ")


def test_means_of_bags_that_end_before_the_index_are_left_to_pytorch() -> None:
    bags = "self.e = nn.EmbeddingBag(30, 8, mode='mean', include_last_offset=True)"
    inputs = "[torch.randint(0, 30, (40,)), torch.tensor([0, 3, 3, 39])]"
    found = trace_task(task_of("return self.e(x[0], x[1])", inputs, bags))
    assert isinstance(found, Untraced)
    assert found.why == "the traced form lacks embedding_bag: means of bags up to a last offset"


@pytest.mark.parametrize(
    "forward",
    [
        "return torch.zeros_like(x[0]).index_add(0, x[1], x[0][x[1]])",
        "return x[0].scatter_add(0, x[1][:, None].expand(-1, 40), x[0][x[1]])",
        "y = x[0].clone(); y[x[1]] = 1.5; return y",
    ],
)
def test_no_two_threads_scatter_into_the_same_rows(forward: str) -> None:
    program = traced(task_of(forward, "[torch.randn(90, 40), torch.randint(0, 90, (200,))]"))
    scatters = [s for s in program.statements if isinstance(s, Scatter)]
    assert scatters
    assert all(shared_axes((s,), program) == () for s in scatters)


def test_what_has_no_graph_is_not_blamed_for_what_only_gradients_forbid() -> None:
    forward = "self.w.mul_(0.5); return x[0] * self.w if x[0].sum().item() > 0 else x[0]"
    assert isinstance(trace_task(task_of(forward, ROWS, "self.w = nn.Parameter(torch.ones(()))")), Untraced)
