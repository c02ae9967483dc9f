"""The operator's moves: deterministic, new, correct wherever they go."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest
import torch

from kernelevolve.core.evaluation import Evaluation, Measurement, Ratio, Status
from kernelevolve.core.graph import Draft, Expansion, Node, Phase
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.task import Task
from kernelevolve.synthesis.base import Context, Parent
from kernelevolve.synthesis.builtin.fallback import fallback_calls
from kernelevolve.synthesis.builtin.knobs import Knob, moved
from kernelevolve.synthesis.builtin.operator import BuiltinOperator
from kernelevolve.tasks.catalog import find_task, list_tasks
from tests.alone import runs_alone
from tests.devices.here import this_machine

from .conftest import Check, load, task_of

SETTINGS = {"attempts": 12, "draft_moves": 6, "mutation_moves": 3, "crossover_mutation": 0.3}
TASK = task_of("return F.softmax(F.gelu(x[0]), -1)", "[torch.randn(64, 100)]")


def prepared(task: Task) -> BuiltinOperator:
    return BuiltinOperator(**SETTINGS).prepare(task)  # type: ignore[arg-type]


def propose(
    operator: BuiltinOperator,
    task: Task,
    seed: int,
    parents: tuple[Kernel, ...] = (),
    known: frozenset[str] = frozenset(),
    step: int = 0,
) -> Draft:
    nodes = tuple(Parent(node_of(k, i), k) for i, k in enumerate(parents))
    expansion = Expansion(
        step=step,
        phase=Phase.EXPAND if parents else Phase.DRAFT,
        parents=tuple(n.node.id for n in nodes),
        seed=seed,
    )
    context = Context(task=task, target=this_machine(), parents=nodes, history=(), known_kernels=known)
    return asyncio.run(operator.propose(expansion, context))


def node_of(kernel: Kernel, number: int) -> Node:
    ratio = Ratio(value=2.0, low=1.9, high=2.1)
    measured = Measurement(speedup=ratio, reference_seconds=2.0, kernel_seconds=1.0, rounds=9)
    evaluation = Evaluation(kernel_id=kernel.id, task_id="t", device="cpu", status=Status.OK, measurement=measured)
    return Node(
        id=f"r.0.{number}",
        run="r",
        island=0,
        step=number,
        phase=Phase.DRAFT,
        operator="x",
        kernel_id=kernel.id,
        evaluation=evaluation,
    )


def test_the_same_seed_gives_the_same_kernel_and_another_one_does_not() -> None:
    operator = prepared(TASK)
    first = propose(operator, TASK, 5, step=1)
    assert first == propose(prepared(TASK), TASK, 5, step=1)
    assert first.kernel.id != propose(operator, TASK, 6, step=1).kernel.id


def test_known_kernels_are_avoided() -> None:
    operator = prepared(TASK)
    known: set[str] = set()
    for step in range(40):
        known.add(propose(operator, TASK, step, known=frozenset(known), step=step).kernel.id)
    assert len(known) == 40


def test_a_mutation_stays_near_and_a_crossover_mixes() -> None:
    operator = prepared(TASK)
    parent = propose(operator, TASK, 1, step=1).kernel
    child = propose(operator, TASK, 2, (parent,))
    assert child.operator == "builtin/mutate"
    changed = {n for n, v in parent.knobs.items() if child.kernel.knobs.get(n) != v}
    assert 1 <= len(changed) <= 3 + 2
    other = propose(operator, TASK, 9, step=1).kernel
    mixed = propose(operator, TASK, 3, (parent, other))
    assert mixed.operator == "builtin/crossover"
    assert mixed.kernel.id not in {parent.id, other.id}


def test_a_foreign_kernel_is_changed_through_the_knobs_of_its_text() -> None:
    source = 'CPP_SOURCE = r"""\n#define TILE 16\n"""\nCPP_FLAGS = ["-O2"]\nclass ModelNew: pass\n'
    draft = propose(prepared(TASK), TASK, 4, (Kernel(source=source, language="cpp"),))
    assert draft.operator == "builtin/retune"
    assert draft.kernel.source != source
    assert "class ModelNew" in draft.kernel.source


@pytest.mark.parametrize("name", [t.name for t in list_tasks() if t.name.startswith("dlrm/")])
def test_shipped_tasks_wherever_the_knobs_point(check: Check, name: str) -> None:
    task = find_task(name)
    space = check(task)
    rng = random.Random(name)
    check(task, {n: rng.choice(k.domain) for n, k in space.items()})


def test_a_move_changes_the_value_and_stays_in_the_domain() -> None:
    knob = Knob("rows", (1, 2, 4, 8, 16), ordered=True)
    rng = random.Random(0)
    for value in knob.domain:
        for _ in range(20):
            fresh = moved(knob, value, rng)
            assert fresh != value
            assert fresh in knob.domain
    assert moved(Knob("one", (3,)), 3, rng) == 3


def test_what_a_kernel_was_not_written_for_takes_the_references_operations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = task_of("return F.softmax(x[0] * 2, -1) if self.training else x[0] + 1", "[torch.randn(64, 100)]")
    model = load(propose(prepared(task), task, 0).kernel, tmp_path, monkeypatch).ModelNew()
    x = torch.randn(3, 100)
    torch.testing.assert_close(model(x), torch.softmax(x * 2, -1))
    assert fallback_calls(model) == 0
    for number, other in enumerate((torch.randn(2, 3, 100), x.double(), torch.randn(())), 1):
        torch.testing.assert_close(model(other), torch.softmax(other * 2, -1))
        assert fallback_calls(model) == number
    torch.testing.assert_close(model.eval()(x), x + 1)
    assert fallback_calls(model) == 4


def test_the_kernel_file_runs_alone(tmp_path: Path) -> None:
    kernel = propose(prepared(TASK), TASK, 0).kernel
    right = "torch.allclose(m(x), torch.softmax(torch.nn.functional.gelu(x), -1), atol=1e-5)"
    (tmp_path / "kernel.py").write_text(kernel.source)
    runs_alone(tmp_path, f"m = kernel.ModelNew(); x = torch.randn(3, 100); assert {right}")
