"""Sorts and ranks agree with PyTorch: every type, NaN and signed zeros, both directions, both ways of sorting."""

from __future__ import annotations

import pytest

from tests.synthesis.rendering import render

from .conftest import THIS, Check, task_of, traced

NAN = "torch.tensor([1.0, float('nan'), 3.0, -float('inf'), float('inf'), -0.0, 0.0, float('nan')])"
INPUTS = f"""[torch.randn(5, 37), torch.randint(-9, 9, (4, 600)), torch.randn(3, 700, dtype=torch.float64), torch.rand(9) > 0.5,
    {NAN}.repeat(3, 100), torch.randint(0, 255, (40, 3)).to(torch.uint8), torch.randn(3, 40).half(), torch.randn(5, 1)]"""
OTHER = f"""{{"a": [torch.randn(2, 7), torch.randint(-9, 9, (4, 6)), torch.randn(3, 70, dtype=torch.float64), torch.rand(90) > 0.5,
    {NAN}.repeat(2, 1), torch.randint(0, 255, (4, 30)).to(torch.uint8), torch.randn(4, 5).half(), torch.randn(9, 1)]}}"""
SORTS = """a, b, c, d, e, f, g, h = x; return (*a.sort(1), *a.sort(0, descending=True), *b.sort(stable=True, dim=1), *c.sort(1),
    a.argsort(), *d.sort(stable=True), *e.sort(stable=True, dim=1), *e.sort(stable=True, dim=1, descending=True),
    *f.sort(stable=True, dim=0, descending=True), *g.sort(stable=True), *h.sort(1), *a.sum().sort())"""


@pytest.mark.parametrize("way", ["compare", "radix"])
def test_sorts(check: Check, way: str) -> None:
    task = task_of(SORTS, INPUTS, variants=OTHER)
    names = [name for name in render(traced(task), THIS, task, ())[1] if name.startswith("sort.")]
    assert len(names) >= 8
    check(task, dict.fromkeys(names, way))


def test_ranks(check: Check) -> None:
    forward = """a, b, c, d, e = x; return (*a.topk(3), *a.topk(1, 0), *a.topk(4, 1, largest=False), *a.topk(a.shape[1] // 2, 1),
        *a.kthvalue(2, 0), *a.kthvalue(1, 1, True), *b.median(1), *b.nanmedian(0, True), b.median(), b.nanmedian(), *c.median(1),
        *d.median(0), *e.nanmedian(1), d.median(), a.quantile(0.3, 1))"""
    inputs = """[torch.randn(5, 37), torch.randn(6, 37).masked_fill(torch.rand(6, 37) < 0.05, float("nan")), torch.randn(6, 10),
        torch.randint(0, 99, (8, 3)), torch.full((2, 3), float("nan"))]"""
    check(task_of(forward, inputs))


def test_experts_are_chosen_by_rank(check: Check) -> None:
    """Weights of the chosen ones alone, and tokens in the order of their experts."""
    init = "self.gate = nn.Linear(16, 8); self.w = nn.Parameter(torch.randn(8, 16, 12))"
    forward = """p = self.gate(x[0]).softmax(-1); v, i = p.topk(2, -1); order = i[:, 0].argsort(stable=True)
        mask = torch.zeros_like(p).scatter(1, i, v / v.sum(-1, keepdim=True))
        return torch.einsum("td,tkdf,tk->tf", x[0], self.w[i], v), mask, x[0][order]"""
    check(task_of(forward, "[torch.randn(30, 16)]", init, "{'a': [torch.randn(7, 16)]}"))
