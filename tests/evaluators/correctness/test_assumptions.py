"""What holds for all that a task draws, but is no part of its operator, is nothing that a kernel may rest on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from evaluators.correctness.reference.computing import ReferenceComputation
from kernelevolve.core.evaluation import VARYING_RESULTS, Status
from kernelevolve.core.task import Task
from tests.evaluators.in_process import DERIVED, Of, copy_of, failure_of, kept_references
from tests.evaluators.written import Written

_AFFINE = "self.w = nn.Parameter(torch.ones(48))\nself.b = nn.Parameter(torch.zeros(48))"
_LINEAR = "self.linear = nn.Linear(48, 16)\nself.norm = nn.LayerNorm(16)"
_NORMED = "self.l = nn.utils.parametrizations.weight_norm(nn.Linear(48, 16))"
_NORMED_BY_HOOK = "self.l = nn.utils.weight_norm(nn.Linear(48, 16))"
_DOUBLED = "self.a = nn.Parameter(torch.randn(48))\nself.b = nn.Parameter(self.a.detach() * 2)"
_HALVES = "return [torch.rand(40, 48)]"

REFERENCES = {
    "affine": Written("return x * self.w + self.b", init=_AFFINE),
    "filled in place": Written(
        "return x * self.w",
        init="self.w = nn.Parameter(torch.empty(48))\nself.w.data.fill_(2.0)",
    ),
    "initialised": Written(
        "return x * self.w",
        init="self.w = nn.Parameter(torch.empty(48))\nnn.init.constant_(self.w, 0.5)",
    ),
    "batch norm": Written("return self.norm(x)", init="self.norm = nn.BatchNorm1d(48)"),
    "batch norm in evaluation mode": Written(
        "return self.norm(x)", init="self.norm = nn.BatchNorm1d(48)\nself.norm.eval()"
    ),
    "linear and norm": Written("return self.norm(self.linear(x))", init=_LINEAR),
    "two norms": Written(
        "return self.n1(self.l(self.n2(x)))",
        init="self.n1 = nn.LayerNorm(48)\nself.n2 = nn.LayerNorm(48)\nself.l = nn.Linear(48, 48)",
    ),
    "embedding with padding": Written(
        "return self.e(i)",
        "return [torch.randint(0, 30, (40, 7))]",
        init="self.e = nn.Embedding(30, 8, padding_idx=0)",
        takes="i",
    ),
    "copied": Written(
        "return x * self.w", init="self.w = nn.Parameter(torch.empty(48))\nself.w.data.copy_(torch.ones(48))"
    ),
    "weight norm": Written("return self.l(x)", init=_NORMED),
    "weight norm by a hook": Written("return self.l(x)", init=_NORMED_BY_HOOK),
    "doubled": Written("return x * self.a + self.b", init=_DOUBLED),
    "doubled later": Written(
        "return x * self.a + self.b",
        init="self.a, self.b = nn.Parameter(torch.empty(48)), nn.Parameter(torch.empty(48))\n"
        "nn.init.normal_(self.a)\nself.b.data.copy_(self.a * 2)",
    ),
    "one element": Written("return x * self.w", init="self.w = nn.Parameter(torch.ones(1))"),
    "logarithm of a parameter": Written(
        "return x * self.w.log()", init="self.w = nn.Parameter(torch.full((48,), 3.0))"
    ),
    "complex scale": Written(
        "return x * self.w",
        "return [torch.randn(40, 48, dtype=torch.complex64)]",
        init="self.w = nn.Parameter(torch.ones(48, dtype=torch.complex64))",
    ),
    "deep copies": Written(
        "for n in self.n:\n    x = n(x).tanh()\nreturn x",
        init="import copy\nn = nn.LayerNorm(48)\nself.n = nn.ModuleList([copy.deepcopy(n) for _ in range(3)])",
    ),
    "copied layers": Written(
        "for l in self.l:\n    x = l(x).tanh()\nreturn x",
        init="import copy\nl = nn.Linear(48, 48)\nself.l = nn.ModuleList([copy.deepcopy(l) for _ in range(3)])",
    ),
    "fixed table": Written("return x * self.t", init="self.t = nn.Parameter(torch.linspace(1, 2, 48))"),
    "one element, exponentiated": Written("return x * self.s.exp()", init="self.s = nn.Parameter(torch.zeros(1))"),
    "batch norm and pool": Written(
        "return F.max_pool1d(self.norm(x), 2)",
        "return [torch.randn(6, 5, 40)]",
        init="self.norm = nn.BatchNorm1d(5)\nself.norm.eval()",
    ),
    "clone": Written("return x.clone()"),
    "view": Written("return x.view(-1)"),
    "transposed copy": Written("return x.t().contiguous()"),
    "two results": Written("return x * 2, x * 2"),
    "constant result": Written("return torch.ones(4)"),
    "normalised": Written("return x / x.norm(dim=1, keepdim=True).clamp(min=1e-8)"),
    "masked mean": Written(
        "return (x * m).sum(1) / m.sum(1).clamp(min=1)",
        "m = torch.rand(40, 48) < 0.5\nm[:, 0] = True\nreturn [torch.randn(40, 48), m]",
        takes="x, m",
    ),
    "cross entropy of shares": Written(
        "return F.binary_cross_entropy(x, y)", "return [torch.rand(40, 48), torch.rand(40, 48)]", takes="x, y"
    ),
    "plain arguments": Written(
        "y = x * scale + shift\nreturn y.relu() if flag else y",
        "return [torch.randn(40, 48), 0.5, -1, True]",
        takes="x, scale, shift, flag",
    ),
    "one sample": Written("return x.softmax(-1)", "return [torch.randn(1, 6, 20)]"),
    "noise": Written(
        "g = torch.Generator().manual_seed(3)\nreturn x + torch.randn(x.shape, generator=g, dtype=x.dtype)"
    ),
    "bytes": Written("return x.sum(1) / x.element_size()"),
    "positions": Written(
        "return x + self.t[: x.shape[1]]",
        "return [torch.randn(40, 48, 8)]",
        init="self.t = nn.Parameter(torch.randn(48, 8))",
    ),
    "drawn scale": Written("return x * self.s", init="self.s = nn.Parameter(torch.rand(1))"),
    "relu of a share": Written("return torch.relu(x)", _HALVES),
    "clamped share": Written("return x.clamp(max=1) * 2", _HALVES),
    "relu of a maximum": Written("return torch.relu(x.amax(1))"),
    "maximum": Written("return x.amax(1)"),
    "scaled": Written("return x * g", "return [torch.randn(40, 48), torch.ones(48)]", takes="x, g"),
    "shifted": Written("return x + b", "return [torch.randn(40, 48), torch.zeros(48)]", takes="x, b"),
    "masked": Written(
        "return torch.where(m, x, 0.0)", "return [torch.randn(40, 48), torch.rand(40, 48) < 0.9]", takes="x, m"
    ),
    "looked up": Written("return x[i]", "return [torch.randn(90, 4), torch.randint(0, 90, (50,))]", takes="x, i"),
    "looked up in a table of the model": Written(
        "return self.table[i] + x[:1]",
        "return [torch.randn(90, 4), torch.randint(0, 60, (50,))]",
        init="self.register_buffer('table', torch.randn(60, 4))",
        takes="x, i",
    ),
    "positions of the largest": Written("return x.topk(5, dim=1).indices"),
    "causal attention": Written(
        "return F.scaled_dot_product_attention(q, k, v, is_causal=True)",
        "return [torch.randn(2, 2, 40, 16) for _ in range(3)]",
        takes="q, k, v",
    ),
    "routed": Written(
        "p, i = self.gate(x).softmax(-1).topk(2, dim=-1)\ny = torch.einsum('nd,edf->nef', x, self.up)\n"
        "return (torch.gather(y, 1, i[..., None].expand(-1, -1, x.shape[1])) * p[..., None]).sum(1)",
        init="self.gate = nn.Linear(48, 8, bias=False)\nself.up = nn.Parameter(torch.randn(8, 48, 48) / 7)",
    ),
    "triangular": Written(
        "return torch.tril(a) @ b", "return [torch.randn(40, 40).tril(), torch.randn(40, 8)]", takes="a, b"
    ),
    "zeros": Written("return x[:, :1] - x[:, :1].mean(1, keepdim=True)", "return [torch.rand(40, 48)]"),
}

WRONG = [
    (
        "weight norm",
        "v = self.l.parametrizations.weight.original1\nreturn F.linear(x, v, self.l.bias)",
        None,
        "the magnitude is that of the initial weight",
    ),
    (
        "weight norm by a hook",
        "return F.linear(x, self.l.weight_v, self.l.bias)",
        None,
        "the magnitude is that of the initial weight",
    ),
    ("weight norm", "return self.l(x)", "self.l = nn.Linear(48, 16)", "no weight norm at all"),
    ("doubled", "return (x + 2) * self.a", None, "one of them twice"),
    ("doubled later", "return (x + 2) * self.a", None, "one of them twice"),
    ("affine", "return x", None, "without its parameters"),
    ("affine", "return x * self.w", None, "without the shift"),
    ("affine", "return x * 1.0", "pass", "it has no parameters"),
    ("filled in place", "return x * 2", None, "the value that it is filled with"),
    ("initialised", "return x * 0.5", None, "the value that it is initialised with"),
    (
        "batch norm",
        "return F.batch_norm(x, self.norm.running_mean, self.norm.running_var, training=True)",
        None,
        "no affine part",
    ),
    (
        "batch norm",
        "return self.norm(x)",
        "self.norm = nn.BatchNorm1d(48, affine=False)",
        "made without its affine part",
    ),
    ("batch norm in evaluation mode", "return x * (1 + 1e-5) ** -0.5", None, "the first statistics"),
    ("linear and norm", "return F.layer_norm(self.linear(x), (16,))", None, "no affine part"),
    ("two norms", "return self.n1(self.l(self.n1(x)))", None, "the first norm twice"),
    ("two norms", "return self.n2(self.l(self.n1(x)))", None, "the norms exchanged"),
    (
        "batch norm in evaluation mode",
        "n = self.norm\nreturn F.batch_norm(x, n.bias, n.running_var, n.weight, n.running_mean)",
        None,
        "bias and mean exchanged",
    ),
    ("batch norm and pool", "return self.norm(F.max_pool1d(x, 2))", None, "weights above zero"),
    ("copied", "return x.clone()", None, "without its parameter"),
    ("one element", "return x.clone()", None, "without its parameter"),
    ("logarithm of a parameter", "return x * 1.0986123", None, "without its parameter"),
    ("complex scale", "return x.clone()", None, "without its parameter"),
    ("deep copies", "for _ in range(3):\n    x = self.n[0](x).tanh()\nreturn x", None, "one for all"),
    ("copied layers", "for _ in range(3):\n    x = self.l[0](x).tanh()\nreturn x", None, "one for all"),
    ("fixed table", "return x * torch.linspace(1, 2, 48)", None, "without its parameter"),
    ("one element, exponentiated", "return x.clone()", None, "without its parameter"),
    ("clone", "return x", None, "the input itself"),
    ("transposed copy", "return x.t()", None, "a view"),
    ("two results", "y = x * 2\nreturn y, y", None, "one tensor twice"),
    ("constant result", "return self.ones", "self.ones = torch.ones(4)", "what it keeps"),
    ("normalised", "return x / x.norm(dim=1, keepdim=True)", None, "divides by zero"),
    ("masked mean", "return (x * m).sum(1) / m.sum(1)", None, "divides by zero"),
    (
        "cross entropy of shares",
        "return -(y * x.log() + (1 - y) * (1 - x).log()).mean()",
        None,
        "no bound of logarithms",
    ),
    ("plain arguments", "return (x * 0.5 + shift).relu() if flag else x * 0.5 + shift", None, "another scale"),
    ("plain arguments", "y = x * scale - 1\nreturn y.relu() if flag else y", None, "another shift"),
    ("plain arguments", "return (x * scale + shift).relu()", None, "another flag"),
    ("one sample", "return x[0].softmax(-1).expand(x.shape).clone()", None, "the first for all"),
    ("noise", "return x.clone()", None, "no noise"),
    ("bytes", "return x.sum(1) / 6", None, "another size"),
    ("bytes", "return x.sum(1) / 8", None, "that of float64"),
    ("positions", "return x + self.t[-x.shape[1] :]", None, "the end of the table"),
    ("drawn scale", "return x * 0.4962565898895264", None, "what the task's seed draws"),
    ("relu of a share", "return x.clone()", None, "nothing is below zero"),
    ("clamped share", "return x * 2", None, "nothing is above one"),
    ("relu of a maximum", "return x.amax(1)", None, "some element of a row is above zero"),
    ("maximum", "return x.clamp(min=-100).amax(1)", None, "a maximum that begins with -100"),
    ("scaled", "return x.clone()", None, "the scale is one"),
    ("shifted", "return x.clone()", None, "the shift is zero"),
    ("masked", "return x * m", None, "NaN times zero"),
    ("looked up", "return x[i % 90]", None, "the table has 90 rows"),
    (
        "causal attention",
        "return F.scaled_dot_product_attention(q.nan_to_num(), k, v, is_causal=True)",
        None,
        "NaN of a query",
    ),
    ("triangular", "return torch.eye(40).mul(a.diagonal()) @ b", None, "the diagonal alone"),
]

HONEST = [
    ("affine", "return torch.addcmul(self.b, x, self.w)", None, "another operation"),
    ("affine", "return x * self.p[0] + self.p[1]", _AFFINE + "\nself.p = torch.stack([self.w, self.b])", "packed"),
    (
        "linear and norm",
        "return self.norm(x @ self.t + self.linear.bias)",
        _LINEAR + "\nself.t = self.linear.weight.t().contiguous()",
        "packed",
    ),
    (
        "affine",
        "return x * self.a + self.c",
        "self.a = nn.Parameter(torch.ones(48))\nself.c = nn.Parameter(torch.zeros(48))",
        "renamed",
    ),
    (
        "copied",
        "return x * self.p",
        "self.w = nn.Parameter(torch.ones(48))\nself.p = self.w.detach().clone()",
        "packed",
    ),
    ("one element", "return x * self.w", "self.w = nn.Parameter(torch.zeros(1).exp())", "made in another way"),
    (
        "deep copies",
        "for n in self.n:\n    x = torch.tanh(n(x))\nreturn x",
        "self.n = nn.ModuleList([nn.LayerNorm(48) for _ in range(3)])",
        "one for each",
    ),
    (
        "affine",
        "return (x * self.w + self.b) * self.h / 4",
        _AFFINE + "\nself.h = nn.Parameter(torch.full((48,), 4.0))",
        "a helper",
    ),
    (
        "one element, exponentiated",
        "return x * self.e",
        "self.s = nn.Parameter(torch.zeros(1))\nself.e = nn.Parameter(self.s.exp())",
        "packed",
    ),
    ("filled in place", "return self.w * x", "self.w = nn.Parameter(torch.tensor([2.0] * 48))", "of a list"),
    (
        "batch norm",
        "return self.norm(x)",
        "class Norm(nn.BatchNorm1d):\n    pass\nself.norm = Norm(48)",
        "a class of its own",
    ),
    (
        "embedding with padding",
        "return torch.where((i == 0)[..., None], 0.0, self.e.weight[i])",
        None,
        "zeros for padding",
    ),
    (
        "weight norm",
        "return F.linear(x, self.w, self.l.bias)",
        _NORMED
        + "\np = self.l.parametrizations.weight\nv = p.original1.detach()"
        + "\nself.w = v * (p.original0.detach() / v.norm(dim=1, keepdim=True))",
        "packed",
    ),
    (
        "weight norm by a hook",
        "return F.linear(x, self.l.weight_v * (self.l.weight_g / self.l.weight_v.norm(dim=1, keepdim=True)), self.l.bias)",
        None,
        "written out",
    ),
    ("doubled", "return torch.addcmul(self.d, x, self.c)", _DOUBLED.replace(".a", ".c").replace(".b", ".d"), "renamed"),
    ("doubled later", "return torch.addcmul(self.b, x, self.a)", _DOUBLED, "made in another way"),
    ("view", "return x.reshape(-1)", None, "another view"),
    ("view", "return x.reshape(-1).clone()", None, "a copy of a view"),
    ("transposed copy", "return x.contiguous().t().clone(memory_format=torch.contiguous_format)", None, "a clone"),
    ("two results", "y = torch.stack([x * 2, x * 2], 2)\nreturn y[:, :, 0], y[:, :, 1]", None, "columns of one tensor"),
    ("two results", "y = torch.stack([x * 2, x * 2])\nreturn y[0], y[1]", None, "two parts of one tensor"),
    ("normalised", "return x * (1 / x.norm(dim=1, keepdim=True).clamp(min=1e-8))", None, "a reciprocal"),
    (
        "plain arguments",
        "y = torch.add(shift, x, alpha=scale)\nreturn y.clamp(min=0) if flag else y",
        None,
        "another way",
    ),
    (
        "routed",
        "p, i = (x @ self.gate.weight.mT).softmax(-1).topk(2, dim=-1)\n"
        "return torch.stack([(p[n, :, None] * (x[n] @ self.up[i[n]])).sum(0) for n in range(x.shape[0])])",
        None,
        "row by row",
    ),
    ("relu of a share", "return torch.where(x > 0, x, torch.where(x.isnan(), x, 0.0))", None, "a condition"),
    ("maximum", "return x.sort(1).values[:, -1]", None, "sorted"),
    ("masked", "return x.masked_fill(~m, 0.0)", None, "filled"),
    (
        "causal attention",
        "s = q @ k.mT / q.shape[-1] ** 0.5\ns = s.masked_fill(torch.ones_like(s).triu(1) > 0, -torch.inf)\nreturn s.softmax(-1) @ v",
        None,
        "written out",
    ),
    (
        "causal attention",
        "s = (q @ k.mT / q.shape[-1] ** 0.5 + torch.ones(q.shape[-2], k.shape[-2]).triu(1) * -1e30).softmax(-1)\nreturn s @ v",
        None,
        "a mask that is added",
    ),
    ("positions of the largest", "return x.sort(dim=1, descending=True).indices[:, :5]", None, "sorted, not stable"),
    ("looked up in a table of the model", "return self.table.index_select(0, i) + x[0]", None, "selected"),
]


@pytest.fixture(scope="module")
def of(tmp_path_factory: pytest.TempPathFactory) -> Of:
    return kept_references(REFERENCES, tmp_path_factory)


@pytest.mark.parametrize("name", REFERENCES)
def test_a_copy_is_right(name: str, of: Of) -> None:
    task, reference = of(name)
    failure = failure_of(reference, task, copy_of(task))
    assert failure is None, f"{failure.summary}\n{failure.details}"


@pytest.mark.parametrize(("name", "forward", "init", "why"), WRONG, ids=[f"{name}: {why}" for name, *_, why in WRONG])
def test_what_rests_on_more_than_the_operator_is_refused(
    name: str, forward: str, init: str | None, why: str, of: Of
) -> None:
    task, reference = of(name)
    failure = failure_of(reference, task, REFERENCES[name].kernel(forward, init))
    assert failure is not None, why
    assert failure.status is Status.WRONG_RESULT, failure.summary


@pytest.mark.parametrize(("name", "forward", "init", "way"), HONEST, ids=[f"{name}: {way}" for name, *_, way in HONEST])
def test_what_computes_the_same_is_right(name: str, forward: str, init: str | None, way: str, of: Of) -> None:
    task, reference = of(name)
    failure = failure_of(reference, task, REFERENCES[name].kernel(forward, init))
    assert failure is None, f"{way}: {failure.summary}\n{failure.details}"


REFUSED = {
    "running maximum": (
        Written(
            "self.m.copy_(torch.maximum(self.m, x.abs().amax()))\nreturn x / self.m",
            init="self.register_buffer('m', torch.zeros(()))",
        ),
        "the result depends on the inputs of earlier calls: it depends on m, which forward changes",
    ),
    "first call": (
        Written("if self.s is None:\n    self.s = x.abs().amax()\nreturn x / self.s", init="self.s = None"),
        "the result depends on the inputs of earlier calls: it stores them",
    ),
    "lazy": (
        Written("return self.l(x)", init="self.l = nn.LazyLinear(8)"),
        "call a lazy module once in the constructor",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_reference_that_no_copy_would_follow_is_refused(name: str, tmp_path: Path) -> None:
    written, why = REFUSED[name]
    task = Task(name=name.replace(" ", "_"), source=written.source("Model"))
    with torch.no_grad():
        told = ReferenceComputation(
            task, tmp_path, {"trials": 2, "max_draws": 1, "draw_bytes": 1, "derived": DERIVED}
        ).own()
    assert why in told["error"]
    assert "\n" not in told["error"]


def test_a_result_that_follows_from_no_input_is_told(of: Of) -> None:
    assert "the same for all" in of("zeros")[1].skipped[VARYING_RESULTS][0]
    assert VARYING_RESULTS not in of("affine")[1].skipped


def test_sizes_that_whole_numbers_lie_below_are_told_from_other_limits(of: Of) -> None:
    """A table of the model does not grow with an input that happens to have more rows: hidden shapes are there nevertheless."""
    _, reference = of("looked up in a table of the model")
    assert sum(case.check == "hidden shapes" for case in reference.cases) == 4


def test_a_range_that_draws_leave_is_the_tasks_to_mend(tmp_path: Path) -> None:
    source = Written("return x.log()", "return [torch.rand(40, 48)]").source("Model")
    task = Task(name="log", source=source + "\ndef get_input_ranges():\n    return [(0.5, 1.0)]\n")
    with torch.no_grad():
        told = ReferenceComputation(
            task, tmp_path, {"trials": 2, "max_draws": 1, "draw_bytes": 1, "derived": DERIVED}
        ).own()
    assert "get_input_ranges, input 0: get_inputs draws values from" in told["error"]
