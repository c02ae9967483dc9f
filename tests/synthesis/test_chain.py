"""The chain of ways to a kernel: what fails is left for the next, what works keeps the others out, and an end is an end."""

from __future__ import annotations

import asyncio
import random
import threading

import pytest

from kernelevolve.core.evaluation import Diagnosis, Evaluation, Measurement, Ratio, Status
from kernelevolve.core.graph import Draft, Expansion, Node, Phase
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.task import AllowAten, Task
from kernelevolve.synthesis.base import Context, ExhaustedError, Parent
from kernelevolve.synthesis.builtin import seeds, tracing
from kernelevolve.synthesis.builtin.chain import Chain, Stage
from kernelevolve.synthesis.builtin.cpp.kernels import CppWriter
from kernelevolve.synthesis.builtin.operator import BuiltinOperator
from kernelevolve.synthesis.builtin.reference_seed import reference_copy
from kernelevolve.synthesis.traced.builder import UnsupportedError
from tests.devices.here import this_machine

from .conftest import task_of
from .test_builtin_operator import SETTINGS, prepared

TRACED = task_of("return F.softmax(F.gelu(x[0]), -1)", "[torch.randn(64, 100)]")
UNTRACED = task_of("return x[0].logcumsumexp(1)", "[torch.randn(8, 9)]")
pytestmark = pytest.mark.usefixtures("compiled")

WRONG = Diagnosis(stage="correctness", summary="element 3 is 0.5, not 0.25")
TILED = Kernel(source="TILE = 4\nUNROLL = 2\nclass ModelNew: pass\n", language="python")


class Search:
    """An island without a strategy: proposes, is told verdicts, and proposes again."""

    def __init__(self, operator: BuiltinOperator, task: Task) -> None:
        self.operator = operator
        self.task = task
        self.nodes: list[Node] = []
        self.kernels: dict[str, Kernel] = {}

    @property
    def known(self) -> set[str]:
        return {node.kernel_id for node in self.nodes}

    def propose(self, parent: Node | None = None) -> Draft:
        return asyncio.run(self.proposed(parent))

    async def proposed(self, parent: Node | None = None) -> Draft:
        step = len(self.nodes)
        parents = (Parent(parent, self.kernels[parent.kernel_id]),) if parent else ()
        context = Context(task=self.task, target=this_machine(), parents=parents, history=(), known_kernels=self.known)
        phase = Phase.EXPAND if parent else Phase.DRAFT
        ids = tuple(p.node.id for p in parents)
        return await self.operator.propose(Expansion(step=step, phase=phase, parents=ids, seed=step), context)

    def tell(self, draft: Draft, status: Status = Status.OK, parent: Node | None = None, speedup: float = 2.0) -> Node:
        step = len(self.nodes)
        node = Node(
            id=f"r.0.{step}",
            run="r",
            island=0,
            step=step,
            phase=Phase.EXPAND if parent else Phase.DRAFT,
            parents=(parent.id,) if parent else (),
            operator=draft.operator,
            kernel_id=draft.kernel.id,
            evaluation=verdict(draft.kernel.id, status, speedup),
        )
        self.nodes.append(node)
        self.kernels[draft.kernel.id] = draft.kernel
        self.operator.tell(node)
        return node

    def drafts(self, count: int, right: frozenset[str] = frozenset()) -> list[str]:
        """The moves of so many drafts, each told as right where its move is among `right`, else as wrong."""
        moves = []
        for _ in range(count):
            draft = self.propose()
            moves.append(draft.operator.partition("/")[2])
            self.tell(draft, Status.OK if moves[-1] in right else Status.WRONG_RESULT)
        return moves


def verdict(kernel_id: str, status: Status, speedup: float = 2.0) -> Evaluation:
    ratio = Ratio(value=speedup, low=0.95 * speedup, high=1.05 * speedup)
    measured = Measurement(speedup=ratio, reference_seconds=speedup, kernel_seconds=1.0, rounds=9)
    ok = status is Status.OK
    return Evaluation(
        kernel_id=kernel_id,
        task_id="t",
        device="cpu",
        status=status,
        measurement=measured if ok else None,
        diagnosis=None if ok else WRONG,
    )


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[Stage]:
    """PyTorch's compilers answer at once, TorchInductor with a kernel that has a knob of some values; returns what was asked for."""
    asked: list[Stage] = []

    def answered(_: Task, stage: Stage) -> dict[str, str]:
        asked.append(stage)
        if stage is Stage.INDUCTOR:
            return {"kernel": TILED.model_dump_json(), "remark": ""}
        return {"refused": "no graph"}

    monkeypatch.setattr(seeds, "_answer", answered)
    return asked


def test_what_is_traced_and_works_keeps_the_others_out(compiled: list[Stage]) -> None:
    search = Search(prepared(TRACED), TRACED)
    assert search.drafts(12, frozenset({"draft"})) == ["draft"] * 12
    assert compiled == []


@pytest.mark.parametrize("expands", [False, True])
def test_where_all_that_is_right_is_slower_than_the_reference_a_copy_comes_next_then_other_stages(
    expands: bool,
) -> None:
    search = Search(prepared(TRACED), TRACED)
    slow = search.tell(search.propose(), speedup=0.7)
    parent = slow if expands else None
    copy = search.propose(parent)
    assert copy.kernel == reference_copy(TRACED)
    best = search.tell(copy, speedup=1.0, parent=parent)
    for _ in range(8):
        search.tell(search.propose(best if expands else None), speedup=0.8)
    assert {node.operator for node in search.nodes} == {"builtin/reference", "builtin/draft", "builtin/inductor"}
    assert [node.operator for node in search.nodes].count("builtin/reference") == 1


def test_a_kernel_that_is_faster_ends_the_tries_of_other_stages(compiled: list[Stage]) -> None:
    search = Search(prepared(TRACED), TRACED)
    search.tell(search.propose(), speedup=0.7)
    search.tell(search.propose(), speedup=1.0)
    search.tell(Draft(kernel=Kernel(source="#", language="cpp"), operator="builtin/mutate"), speedup=1.2)
    assert search.drafts(8, frozenset({"draft"})) == ["draft"] * 8
    assert compiled == []


def test_where_the_task_forbids_the_reference_no_copy_is_made_of_it() -> None:
    task = TRACED.model_copy(update={"allow_aten": AllowAten.NONE})
    search = Search(prepared(task), task)
    search.tell(search.propose(), speedup=0.7)
    assert "reference" not in search.drafts(8, frozenset({"draft"}))


def test_a_first_draft_that_fails_brings_the_copy_then_the_next_stage_and_some_more_tries() -> None:
    search = Search(prepared(TRACED), TRACED)
    moves = search.drafts(16, frozenset({"reference", "inductor"}))
    assert moves[:2] == ["draft", "reference"]
    assert "inductor" in moves[:5]
    assert moves.count("draft") == 4, "after four that fail for the same reason it is given up"
    assert set(moves[8:]) <= {"inductor", "reference"}


def test_nothing_that_failed_as_all_of_its_stage_is_changed() -> None:
    search = Search(prepared(TRACED), TRACED)
    failed = search.tell(search.propose(), Status.WRONG_RESULT)
    assert search.propose(failed).operator == "builtin/reference"
    right = search.tell(Draft(kernel=Kernel(source="#", language="cpp"), operator="builtin/draft"))
    assert search.propose(failed).operator == "builtin/mutate"
    assert search.operator.chain.works(Stage.TRACED)
    assert right.fitness > 0


def test_what_is_not_traced_begins_with_a_copy_and_says_why(compiled: list[Stage]) -> None:
    search = Search(prepared(UNTRACED), UNTRACED)
    first = search.propose()
    assert compiled == [], "nothing slow before the first kernel"
    assert first.kernel == reference_copy(UNTRACED)
    assert first.note.startswith("a copy of the reference; the traced form lacks the operation aten.logcumsumexp")
    search.tell(first)
    second = search.propose()
    assert (second.operator, second.kernel) == ("builtin/inductor", TILED)
    search.tell(second)
    third = search.propose()
    assert third.operator == "builtin/inductor"
    assert third.kernel.source != TILED.source


def test_a_search_that_has_judged_all_there_is_ends() -> None:
    search = Search(prepared(UNTRACED), UNTRACED)
    search.drafts(21, frozenset(Stage))
    with pytest.raises(ExhaustedError, match="all kernels"):
        search.propose()
    moves = [node.operator for node in search.nodes]
    assert moves.count("builtin/inductor") == 20, "five values of TILE, four of UNROLL"
    assert moves.count("builtin/reference") == 1
    assert len(search.known) == len(moves)
    with pytest.raises(ExhaustedError):
        search.propose(search.nodes[0])


def test_the_same_nodes_told_again_give_the_same_state() -> None:
    search = Search(prepared(TRACED), TRACED)
    search.drafts(7, frozenset({"reference"}))
    again = Search(prepared(TRACED), TRACED)
    for node in search.nodes:
        again.operator.tell(node)
    again.nodes = search.nodes
    assert again.propose() == search.propose()


def test_stages_that_a_task_forbids_are_left_out_and_said() -> None:
    task = UNTRACED.model_copy(update={"allow_aten": AllowAten.NONE})
    search = Search(prepared(task), task)
    assert search.drafts(2) == ["inductor", "inductor"]
    assert "forbids" in search.operator.chain.absent[Stage.REFERENCE]


def test_where_there_is_no_way_at_all_the_end_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> tuple[object, ...]:
        raise UnsupportedError("it leaves all of it to ATen")

    monkeypatch.setattr(seeds, "seeds_of", refused)
    task = UNTRACED.model_copy(update={"allow_aten": AllowAten.NONE})
    with pytest.raises(ExhaustedError, match=r"aten\.logcumsumexp.*leaves all of it to ATen.*forbids"):
        Search(prepared(task), task).propose()


def test_kernels_that_fail_for_many_reasons_get_more_tries() -> None:
    def told(reasons: list[str]) -> Chain:
        chain = Chain()
        for number, reason in enumerate(reasons):
            evaluation = verdict(f"k{number}", Status.RUNTIME_ERROR).model_copy(
                update={"diagnosis": Diagnosis(stage="correctness", summary=reason)}
            )
            search_node = Node(
                id=f"n{number}",
                run="r",
                island=0,
                step=number,
                phase=Phase.DRAFT,
                operator="builtin/draft",
                kernel_id=f"k{number}",
                evaluation=evaluation,
            )
            chain.tell(search_node)
        return chain

    rng = random.Random(0)
    assert Stage.TRACED not in told([f"element {n} is wrong" for n in range(4)]).plan(rng)
    assert Stage.TRACED in told(["too slow", "does not compile", "raised", "is wrong"]).plan(rng)
    assert Stage.TRACED not in told([f"reason {chr(97 + n)}" for n in range(12)]).plan(rng)


def test_a_fault_of_the_writer_at_a_point_is_a_node_and_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    search = Search(prepared(TRACED), TRACED)

    def broken(*_: object, **__: object) -> object:
        raise KeyError("t0")

    monkeypatch.setattr(CppWriter, "write", broken)
    draft = search.propose()
    assert draft.rejected is not None
    assert draft.rejected.summary == "the writer fails at this point: KeyError: 't0'"
    search.tell(draft, Status.INVALID_SOURCE)
    assert search.propose().operator == "builtin/reference"


@pytest.mark.parametrize("task", [TRACED, UNTRACED])
def test_while_it_is_traced_elsewhere_a_copy_comes_first_and_then_what_the_trace_gives(task: Task) -> None:
    search = Search(BuiltinOperator(**SETTINGS).provisional(task), task)  # type: ignore[arg-type]
    first = search.propose()
    assert (first.operator, first.note) == ("builtin/reference", "a copy of the reference")
    search.tell(first)
    second, whole = search.propose(), Search(prepared(task), task).propose()
    if task is TRACED:
        assert (second.operator, second.kernel, second.note) == ("builtin/draft", whole.kernel, "the default schedule")
    else:
        assert second.operator == "builtin/inductor"
        assert "aten.logcumsumexp" in second.note


def test_while_tracing_takes_long_other_stages_are_not_kept_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    task = task_of("return self.layer(x[0])", "[torch.randn(2, 3, 16, 16)]", "self.layer = nn.Conv2d(3, 4, 3)")
    traced, go_on = tracing.kept_trace(task), threading.Event()

    def slow(_: Task) -> object:
        assert go_on.wait(60)
        return traced

    def answered(_: Task, stage: Stage) -> dict[str, str]:
        assert stage is Stage.ATEN, "TorchInductor takes longer than tracing"
        return {"kernel": TILED.model_dump_json(), "remark": ""}

    monkeypatch.setattr(tracing, "kept_trace", slow)
    monkeypatch.setattr(seeds, "_answer", answered)
    search = Search(BuiltinOperator(**SETTINGS).provisional(task), task)  # type: ignore[arg-type]

    async def drafts() -> tuple[list[str], Draft]:
        try:
            moves = [search.tell(await search.proposed(), speedup=1.0).operator for _ in range(3)]
            threading.Timer(1.0, go_on.set).start()
            return moves, await search.proposed()
        finally:
            go_on.set()

    moves, last = asyncio.run(drafts())
    assert moves == ["builtin/reference", "builtin/reference", "builtin/aten"]
    assert (last.operator, last.note) == ("builtin/draft", "the default schedule")


def test_a_fault_of_the_tracer_is_a_reason_and_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> object:
        raise KeyError("float8")

    monkeypatch.setattr(tracing, "trace", broken)
    monkeypatch.setattr(tracing, "kept_trace", tracing.trace_task)
    operator = BuiltinOperator(**SETTINGS).prepare(TRACED)  # type: ignore[arg-type]
    assert operator.chain.absent == {Stage.TRACED: "the traced form fails: KeyError: 'float8'"}
    assert Search(operator, TRACED).propose().kernel == reference_copy(TRACED)
