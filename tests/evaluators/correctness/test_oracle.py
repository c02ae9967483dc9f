"""Copies of references are right, also at steps, where terms cancel and where calls leave something behind; what is subtly wrong is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from evaluators.correctness.ledger import EVALUATION_MODE, Ledger, in_words
from kernelevolve.core.evaluation import Status
from kernelevolve.core.task import Task
from tests.evaluators.in_process import Of, copy_of, failure_of, kept_references, reference_in
from tests.evaluators.written import Written

GRID = "return [torch.randint(-40, 41, (40, 48)) / 4]"
_NORM = "self.norm = nn.BatchNorm1d(48)"
_ROTARY = """half = 8
inverse = 1.0 / (10000 ** (torch.arange(half) / half))
angle = torch.arange(x.shape[0])[:, None] * inverse
a, b = x[:, :half], x[:, half:]
return torch.cat([a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()], 1)"""

REFERENCES = {
    "floor of a cosine": Written("return torch.floor(torch.cos(x * 30) * 64)"),
    "floor": Written("return torch.floor(x)", GRID),
    "round": Written("return torch.round(x * 2)", GRID),
    "steps of normal values": Written("return x > 0.5, torch.round(x)"),
    "floor division": Written(
        "return torch.div(x, 0.1, rounding_mode='floor')", "return [torch.randint(0, 200, (40, 48)) / 10]"
    ),
    "remainder": Written("return torch.remainder(x, 0.1)", "return [torch.randint(0, 200, (40, 48)) / 10]"),
    "cancelling": Written("return (x + 3e6) - 3e6"),
    "layer norm far from zero": Written("return F.layer_norm(x, (48,))", "return [torch.randn(40, 48) + 1e5]"),
    "variance far from zero": Written("return x.var(-1)", "return [torch.randn(40, 48) + 3e3]"),
    "logistic map": Written("for _ in range(6):\n    x = 3.9 * x * (1 - x)\nreturn x", "return [torch.rand(40, 48)]"),
    "chaos": Written("for _ in range(40):\n    x = 3.9 * x * (1 - x)\nreturn x", "return [torch.rand(40, 48)]"),
    "buckets": Written(
        "return torch.bucketize(x, self.edges)", GRID, "self.register_buffer('edges', torch.linspace(-3, 3, 25))"
    ),
    "buckets of normal values": Written(
        "return torch.bucketize(x, self.edges)", init="self.register_buffer('edges', torch.linspace(-3, 3, 41))"
    ),
    "buckets of a logarithm": Written(
        "return torch.bucketize(torch.log(x), self.edges)",
        init="self.register_buffer('edges', torch.linspace(-3, 1, 41))",
    ),
    "quantised": Written("return (x / (x.abs().amax(1, keepdim=True) / 127)).round().to(torch.int8)"),
    "argmax of products": Written("return (x @ self.w).argmax(1)", init="self.w = nn.Parameter(torch.randn(48, 300))"),
    "argmax of ties": Written("return x.argmax(1)", GRID),
    "positions of the largest": Written("return x.topk(5, dim=1).indices"),
    "cast to whole numbers": Written("return (x * 1000 / 7).to(torch.int32)"),
    "signs of what cancels": Written("return torch.sign(x - x.mean(1, keepdim=True))"),
    "comparison of sums": Written("return x.cumsum(1) > x.flip(1).cumsum(1)"),
    "whole powers": Written("return torch.pow(x, 3)", "return [torch.randint(-9, 10, (40, 48))]"),
    "half precision": Written("return torch.tanh(x) * 3", "return [torch.randn(40, 48).half()]"),
    "rounded to half": Written("return x.half().float() * 3"),
    "mean of nothing": Written("return x[:, :0].mean(1) + x[:, 0]"),
    "in place": Written(
        "F.relu(x, inplace=True)\nreturn x + y", "return [torch.randn(40, 48), torch.randn(40, 48)]", takes="x, y"
    ),
    "added in place": Written("x.add_(1)\nreturn x * 2"),
    "an input returned": Written("return x.mul_(2)"),
    "batch norm": Written("return self.norm(x)", init=_NORM),
    "dropout in evaluation mode": Written("return self.drop(x)", init="self.drop = nn.Dropout(0.5)\nself.eval()"),
    "counter": Written(
        "self.count += 1\nreturn x if self.training else x * self.count",
        init="self.register_buffer('count', torch.zeros(()))",
    ),
    "rotary": Written(_ROTARY, "return [torch.randn(60, 16)]"),
}

WRONG = [
    ("floor of a cosine", "return torch.floor(torch.cos(x * 30).half().float() * 64)", "half precision inside"),
    ("floor of a cosine", "return torch.cos(x * 30) * 64 - 0.5", "no step"),
    ("floor", "return torch.ceil(x) - 1", "another side of a step"),
    ("round", "return torch.floor(x * 2 + 0.5)", "ties away from zero"),
    ("steps of normal values", "return x >= 0.5, torch.round(x)", "another side of what it is compared with"),
    ("steps of normal values", "return x > 0.5, torch.floor(x + 0.5)", "ties away from zero"),
    ("floor division", "return torch.div(x, 0.1, rounding_mode='trunc') - (x == 0).float()", "off by one at zero"),
    ("floor division", "return torch.div(x, 0.1, rounding_mode='floor') - 1", "off by one everywhere"),
    ("remainder", "return torch.remainder(x, 0.1) * 0.5", "another factor"),
    ("cancelling", "return torch.zeros_like(x)", "zeros"),
    ("cancelling", "return (x + 6e7) - 6e7", "fewer digits"),
    ("layer norm far from zero", "return torch.zeros_like(x)", "zeros"),
    ("layer norm far from zero", "return F.layer_norm((x - 1e5).half().float(), (48,)) * 1.1", "another factor"),
    ("buckets", "return torch.bucketize(x, self.edges, right=True)", "the other bucket at an edge"),
    (
        "buckets of normal values",
        "return torch.bucketize(x, self.edges).where(~x.isnan(), 0)",
        "NaN in the first bucket",
    ),
    (
        "buckets of a logarithm",
        "return torch.bucketize(torch.log(x), self.edges).where(x > 0, 0)",
        "NaN in the first bucket",
    ),
    ("quantised", "return (x / (x.abs().amax(1, keepdim=True) / 127)).floor().to(torch.int8)", "floor for round"),
    ("quantised", "return (x / (x.abs().amax(1, keepdim=True) / 127)).half().round().to(torch.int8)", "half precision"),
    ("argmax of products", "return (x.bfloat16() @ self.w.bfloat16()).argmax(1)", "bfloat16 inside"),
    ("argmax of ties", "return 47 - x.flip(1).argmax(1)", "the last of equal values"),
    ("cast to whole numbers", "return (x * 1000 / 7).round().to(torch.int32)", "round for trunc"),
    (
        "comparison of sums",
        "r = x.cumsum(1) > x.flip(1).cumsum(1)\nreturn (r.to(torch.uint8) * 2).view(torch.bool)",
        "bytes of 2",
    ),
    ("rounded to half", "return x * 3", "no rounding"),
    ("mean of nothing", "return x[:, 0]", "zero for NaN"),
    ("in place", "return F.relu(x) * 2 if False else F.relu(x) + y", "leaves its input as it is"),
    ("in place", "F.relu(x, inplace=True)\nr = x + y\ny.zero_()\nreturn r", "changes another input"),
    ("added in place", "x.add_(2)\nreturn (x - 1) * 2", "changes its input in another way"),
    ("batch norm", "return F.batch_norm(x, None, None, self.norm.weight, self.norm.bias, True)", "no evaluation mode"),
    (
        "batch norm",
        "n = self.norm\nif self.training:\n    return F.batch_norm(x, None, None, n.weight, n.bias, True)\nreturn n(x)",
        "forgets the running statistics",
    ),
    ("counter", "return x", "forgets to count"),
    (
        "rotary",
        _ROTARY.replace("torch.arange(x.shape[0])[:, None]", "torch.arange(x.shape[0]).clamp(max=90)[:, None]"),
        "a table that ends",
    ),
    ("rotary", _ROTARY.replace("* inverse", "* inverse.half()"), "half precision inside"),
]


HONEST = [
    ("floor of a cosine", "return torch.floor(64 * torch.cos(x.double() * 30)).float()", "float64 inside"),
    ("floor of a cosine", "a = x * 30\nreturn torch.floor((torch.cos(a / 2) ** 2 * 2 - 1) * 64)", "half of the angle"),
    ("cancelling", "return x.clone()", "nothing cancels"),
    ("layer norm far from zero", "return F.layer_norm(x.double(), (48,)).float()", "float64 inside"),
    (
        "variance far from zero",
        "m = x.mean(-1, keepdim=True)\nreturn ((x - m) ** 2).sum(-1) / (x.shape[-1] - 1)",
        "two passes",
    ),
    ("quantised", "return (x * (127 / x.abs().amax(1, keepdim=True))).round().to(torch.int8)", "a reciprocal"),
    ("argmax of products", "return (x.double() @ self.w.double()).argmax(1)", "float64 inside"),
    ("argmax of products", "return (x.flip(1) @ self.w.flip(0)).argmax(1)", "another order"),
    (
        "buckets of a logarithm",
        "return torch.bucketize(torch.log2(x) * 0.6931471805599453, self.edges)",
        "another logarithm",
    ),
    ("comparison of sums", "return x.double().cumsum(1) > x.double().flip(1).cumsum(1)", "float64 inside"),
    ("signs of what cancels", "return torch.sign(x - x.sum(1, keepdim=True) / x.shape[1])", "a sum"),
    ("logistic map", "for _ in range(6):\n    x = 3.9 * (x - x * x)\nreturn x", "another order"),
    ("batch norm", "y = self.norm(x.flip(0))\nreturn y.flip(0)", "another order"),
    ("in place", "r = F.relu(x) + y\nx.clamp_(min=0)\nreturn r", "a clamp"),
]
"""What computes the same in another way."""


@pytest.fixture(scope="module")
def of(tmp_path_factory: pytest.TempPathFactory) -> Of:
    return kept_references(REFERENCES, tmp_path_factory)


@pytest.mark.parametrize("name", REFERENCES)
def test_a_copy_is_right(name: str, of: Of) -> None:
    task, reference = of(name)
    failure = failure_of(reference, task, copy_of(task))
    assert failure is None, f"{failure.summary}\n{failure.details}"


@pytest.mark.parametrize(("name", "forward", "way"), HONEST, ids=[f"{name}: {way}" for name, _, way in HONEST])
def test_what_rounds_in_another_way_is_right(name: str, forward: str, way: str, of: Of) -> None:
    task, reference = of(name)
    failure = failure_of(reference, task, REFERENCES[name].kernel(forward))
    assert failure is None, f"{way}: {failure.summary}\n{failure.details}"


@pytest.mark.parametrize(("name", "forward", "why"), WRONG, ids=[f"{name}: {why}" for name, _, why in WRONG])
def test_what_is_subtly_wrong_is_refused(name: str, forward: str, why: str, of: Of) -> None:
    task, reference = of(name)
    failure = failure_of(reference, task, REFERENCES[name].kernel(forward))
    assert failure is not None, why
    assert failure.status is Status.WRONG_RESULT, failure.summary


def test_the_record_says_what_a_verdict_rests_on(of: Of) -> None:
    task, reference = of("batch norm")
    ledger = Ledger()
    assert failure_of(reference, task, copy_of(task), ledger) is None
    checks = {check.name: check for check in ledger.checks()}
    assert checks["own inputs"].count == 2
    assert checks["hidden shapes"].count == 4
    assert checks["distributions of values"].count >= 4
    assert checks["inputs with NaN and infinities"].count == 2
    assert checks["sets of other parameters"].count == 1
    assert checks[EVALUATION_MODE].count == 1
    assert checks["inputs afterwards"].count == len(reference.cases)
    assert not any(check.timed_out for check in checks.values())
    assert "2 own inputs, " in in_words(ledger.checks())


def test_the_record_says_what_was_left_out_and_why(of: Of) -> None:
    task, reference = of("whole powers")
    ledger = Ledger()
    assert failure_of(reference, task, copy_of(task), ledger) is None
    checks = {check.name: check for check in ledger.checks()}
    assert checks["results against float64"].skipped == ("the results are exact",)
    assert checks[EVALUATION_MODE].skipped == ("neither calls nor evaluation mode change a result",)
    assert checks["inputs with NaN and infinities"].count == 0
    assert "no floating input" in checks["inputs with NaN and infinities"].skipped[0]
    assert checks["sets of other parameters"].skipped == ("the reference has no parameters",)


def test_a_failure_has_the_checks_before_it(of: Of) -> None:
    task, reference = of("batch norm")
    ledger = Ledger()
    forgets = REFERENCES["batch norm"].kernel(
        "return F.batch_norm(x, None, None, self.norm.weight, self.norm.bias, True)"
    )
    assert failure_of(reference, task, forgets, ledger) is not None
    checks = {check.name: check.count for check in ledger.checks()}
    assert checks["own inputs"] == 2
    assert EVALUATION_MODE not in checks


def test_ties_are_tried_where_pytorch_says_which_it_takes(of: Of) -> None:
    def labels(name: str) -> set[str]:
        return {case.label for case in of(name)[1].cases}

    assert "values: ties" in labels("argmax of ties")
    assert "values: ties" in labels("buckets of normal values")
    assert "values: ties" not in labels("positions of the largest")
    left = of("positions of the largest")[1].skipped["distributions of values"]
    assert any("not defined by topk" in why for why in left)


def test_a_model_that_remembers_outside_of_its_state_is_built_anew_for_each_run(tmp_path: Path) -> None:
    counts = Written("self.calls += 1\nassert self.calls < 6, 'worn out'\nreturn x * 2", init="self.calls = 0")
    reference = reference_in(tmp_path / "data", Task(name="counts", source=counts.source("Model")))
    assert len(reference.cases) > 8


def test_results_of_the_call_before_are_called_that(of: Of) -> None:
    """As what is computed once and kept gives."""
    name = next(iter(REFERENCES))
    task, reference = of(name)
    kept = "class Kept(Model):\n    first = None\n\n    def forward(self, *x):\n"
    kept += "        if self.first is None or self.first.shape != super().forward(*x).shape:\n"
    kept += (
        "            self.first = super().forward(*x).clone()\n        return self.first.clone()\n\n\nModelNew = Kept\n"
    )
    failure = failure_of(reference, task, f"{task.source}\n\n{kept}")
    assert failure is not None
    assert "These are the results of the previous call, on other inputs." in failure.details
