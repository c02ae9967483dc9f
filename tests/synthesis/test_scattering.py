"""Writing where data says agrees with PyTorch: ways of combining, masks, any dimension, bags with padding."""

from __future__ import annotations

import pytest

from kernelevolve.synthesis.builtin.tracing import Untraced, trace_task

from .conftest import Check, task_of

SCATTERS = ", ".join(
    f"torch.full((8, 6), 0.5).scatter_reduce(0, wide, v, '{kind}', include_self={include}), "
    f"torch.full((8, 6), 3).scatter_reduce(0, wide, n, '{kind}', include_self={include})"
    for kind in ("sum", "prod", "mean", "amax", "amin")
    for include in (True, False)
)
REDUCED = ", ".join(
    f"torch.ones(6, 8).index_reduce(1, i, v.t(), '{kind}', include_self={include})"
    for kind in ("prod", "mean", "amax", "amin")
    for include in (True, False)
)


@pytest.mark.filterwarnings("ignore:index_reduce", "ignore:The reduce argument")
def test_ways_of_combining(check: Check) -> None:
    inputs = "[torch.randn(30, 6), torch.randint(0, 5, (30,)), torch.randint(-2, 5, (30, 6))]"
    forward = f"""v, i, n = x; wide = i[:, None].expand_as(v); return ({SCATTERS}, {REDUCED},
        torch.zeros(8, 6).index_add(0, i, v, alpha=0.5), torch.ones(8, 6).scatter(0, wide[:1], v, reduce='multiply'),
        v.masked_fill(v > 1, float('nan')).new_zeros(8).scatter_reduce(0, i, v[:, 0].masked_fill(v[:, 0] > 1, float('nan')), 'amax'))"""
    check(task_of(forward, inputs))


def test_places_in_any_dimension(check: Check) -> None:
    inputs = "[torch.randn(2, 5, 9, 8), torch.randn(2, 5, 3, 8), torch.tensor([3, -4, 5]), torch.tensor([1, 0, 4])]"
    forward = """c, k, p, q = x; a = c.clone(); a[:, :, p] = k; b = c.clone(); b[:, q, p] = k[:, 0]; d = c.clone(); d[:, q, :, p] = 2.0
        e = c.clone(); e[0, :, p] += k[0]; return a, b, d, e, c.index_copy(2, p % 9, k), c.index_fill(1, q, 0.5),
        c[:, q, p], c[:, q, :, p]"""
    check(
        task_of(
            forward,
            inputs,
            variants="{'a': [torch.randn(1, 6, 12, 8), torch.randn(1, 6, 3, 8), *[torch.tensor([3, 4, 5])] * 2]}",
        )
    )


def test_values_that_broadcast_to_what_they_are_written_to(check: Check) -> None:
    """The export does not prove that values are as large as what they are written to, so other sizes may broadcast."""
    inputs = "[torch.randn(5, 6), torch.tensor([1, 2, 2]), torch.randn(3, 6), torch.randn(3, 3)]"
    check(
        task_of(
            """a, i, v, w = x
        return torch.index_put(a, (i,), v, accumulate=True), torch.index_put(a[:, ::2], (i,), w, accumulate=True)""",
            inputs,
            variants="{'a': [torch.randn(4, 9), torch.tensor([1, 2]), torch.randn(2, 1), torch.randn(2, 1)], "
            "'b': [torch.randn(4, 9), torch.tensor([1, 2]), torch.randn(1, 9), torch.randn(1, 5)]}",
        )
    )


def test_masks(check: Check) -> None:
    forward = """a, r, m, v = x; b = a.clone(); b[a < 0] = 0.5; c = a.clone(); c[m] = r; d = a.clone(); d[:, r > 0] = v
        return b, c, d, a.masked_scatter(a > 0, a * 3), torch.where(m[:, None], a, r)"""
    inputs = "[torch.randn(12, 14), torch.randn(14), torch.rand(12) > 0.5, torch.tensor(7.0)]"
    check(
        task_of(
            forward,
            inputs,
            variants="{'a': [torch.randn(5, 3), torch.randn(3), torch.rand(5) > 0.5, torch.tensor(7.0)]}",
        )
    )


def test_as_many_values_as_a_mask_has_places_are_left_to_pytorch() -> None:
    found = trace_task(task_of("y = x[0].clone(); y[x[0] > 0] = x[1]; return y", "[torch.ones(4), torch.randn(4)]"))
    assert isinstance(found, Untraced)
    assert "depends on the data" in found.why


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_bags_with_padding(check: Check, mode: str) -> None:
    """Some bags are empty, some hold nothing but padding."""
    init = (
        f"self.e = nn.EmbeddingBag(9, 8, mode='{mode}', padding_idx=3); self.n = nn.EmbeddingBag(9, 8, mode='{mode}')"
    )
    inputs = "[torch.cat([torch.full((4,), 3), torch.randint(0, 6, (36,))]), torch.tensor([0, 4, 4, 9, 20]), torch.tensor([0])]"
    check(task_of("return self.e(x[0], x[1]), self.e(x[0].reshape(8, 5)), self.n(x[0], x[2])", inputs, init))
