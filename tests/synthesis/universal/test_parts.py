"""The loader's line, facts of a task, what a verdict is taken for."""

from __future__ import annotations

import pytest

from devices.languages import fold, unfold
from devices.languages.cpp import MARK
from devices.toolchains.literals import read_literals
from devices.toolchains.loader import LOADER
from kernelevolve.core.evaluation import AtenShare, Measurement, Ratio
from kernelevolve.core.graph import Node
from kernelevolve.core.task import Task
from kernelevolve.synthesis.universal.analysis import Bound, analysed
from kernelevolve.synthesis.universal.task_facts import TaskFacts, examine
from tests.small_task import SOURCE
from tests.synthesis.universal.conftest import FACTS, HARDWARE, parent

BODY = '''import ctypes
import torch

CPP_FLAGS = ["-O3"]
CPP_SOURCE = r"""int load_library();"""
{loader}
_LIBRARY = load_library(CPP_SOURCE, CPP_FLAGS)


class ModelNew(torch.nn.Module):
    pass
'''
WHOLE = BODY.format(loader=LOADER)


@pytest.mark.parametrize(
    "written",
    [
        WHOLE,
        fold(WHOLE),
        BODY.format(loader="#  LOADER"),
        BODY.format(loader=f"{MARK}\n{MARK}"),
    ],
)
def test_the_loader_is_put_back(written: str) -> None:
    found = unfold(written)
    assert found.count(LOADER) == 1
    assert found.replace("\n", "") == WHOLE.replace("\n", "")
    assert read_literals(found) == ("int load_library();", ["-O3"])
    assert len(fold(found)) < 500


def test_a_loader_that_was_forgotten_comes_before_its_first_use() -> None:
    found = unfold(BODY.format(loader=""))
    assert found.index(LOADER) < found.index("_LIBRARY = ")
    compile(found, "kernel.py", "exec")
    inside = "import torch\n\n\nclass ModelNew:\n    def __init__(self):\n        self.library = load_library('', [])\n"
    assert unfold(inside).index(LOADER) < unfold(inside).index("class ModelNew")
    assert unfold("x = 1\n") == "x = 1\n"
    own = "def load_library(a, b):\n    pass\n\n\nlibrary = load_library(1, 2)\n"
    assert unfold(own) == own


def test_facts_of_a_task() -> None:
    assert (
        TaskFacts(
            inputs=("x: float32 [64, 512]",),
            outputs=("output: float32 [64, 512]",),
            weights=(),
            variants=("rows_3: float32 [3, 512]",),
            least_bytes=2 * 64 * 512 * 4,
            flops=0,
        )
        == FACTS
    )
    product = SOURCE.replace("torch.nn.functional.gelu(x) * 2.0", "(x @ x.T, x.t())").replace("[64", "[8")
    found = examine(Task(name="product", source=product))
    assert found.flops == 2 * 64 * 64 * 512
    assert found.outputs == ("output 0: float32 [64, 64]", "output 1: float32 [512, 64], strides [1, 512]")


def evaluated(seconds: float, aten: AtenShare | None = None, variant: float = 2.0, **node: object) -> Node:
    ratio = Ratio(value=2.0, low=1.9, high=2.1)
    measured = Measurement(speedup=ratio, reference_seconds=2 * seconds, kernel_seconds=seconds, rounds=5)
    small = measured.model_copy(update={"speedup": Ratio(value=variant, low=variant, high=variant)})
    good = parent(1, 2.0).node
    verdict = good.evaluation.model_copy(update={"measurement": measured, "aten": aten, "variants": {"small": small}})
    return good.model_copy(update={"evaluation": verdict, **node})


@pytest.mark.parametrize(
    ("node", "facts", "bound"),
    [
        (evaluated(5e-6), FACTS, Bound.OVERHEAD),
        (evaluated(1e-3), FACTS, Bound.MEMORY),
        (evaluated(1e-3), FACTS.model_copy(update={"flops": 10**9}), Bound.COMPUTE),
        (evaluated(1e-3), FACTS.model_copy(update={"flops": 10 * FACTS.least_bytes}), Bound.UNCLEAR),
        (evaluated(1e-3, AtenShare(share=0.8, operators={"aten::mm": 0.8})), FACTS, Bound.FOREIGN),
    ],
)
def test_what_bounds_a_kernel(node: Node, facts: TaskFacts, bound: Bound) -> None:
    found = analysed(node, facts, HARDWARE)
    assert found.bound is bound
    assert found.next_step


def test_findings_are_figures_of_the_verdict() -> None:
    node = evaluated(
        1e-3,
        AtenShare(share=0.3, operators={"aten::mm": 0.3}),
        1.1,
        traits={"traffic_bytes": 4.0 * FACTS.least_bytes, "passes": 3.0},
    )
    findings = "; ".join(analysed(node, FACTS.model_copy(update={"flops": 10**9}), HARDWARE).findings)
    for said in (
        "1000.0 us a call",
        "the reference 2000.0 us",
        "0.3 GB/s",
        "1000.0 GFLOP/s",
        "inputs small it is only 1.10x",
        "30% of a call is PyTorch's own work: aten::mm 30%",
        "4.0 times the bytes that must be moved, in 3 passes",
    ):
        assert said in findings


def test_a_failure_comes_with_what_to_do() -> None:
    found = analysed(parent(1, 0.0).node, FACTS, HARDWARE)
    assert "mend the arithmetic" in found.next_step
    assert not found.findings
