from __future__ import annotations

import time
from pathlib import Path

import pytest
import ray
from hydra.utils import instantiate
from omegaconf import OmegaConf

from islands.archipelago import Archipelago, Progress
from kernelevolve.core.budget import Budget
from kernelevolve.core.errors import UserError
from kernelevolve.core.evaluation import Status
from kernelevolve.core.graph import Phase
from kernelevolve.core.seeds import derive_seed
from kernelevolve.core.usage import Usage
from kernelevolve.search.base import View
from kernelevolve.store.sqlite import SqliteStore
from tests.islands.conftest import CONF, Make
from tests.islands.doubles import DoubleEvaluator, DoubleOperator, Refusing, RefusingEvaluator, evaluated


def finish(archipelago: Archipelago) -> Progress:
    """Run to the end; the last progress."""
    with archipelago:
        *_, last = archipelago.watch(0.05)
    return last


@pytest.mark.parametrize("search", ["greedy", "evolutionary"])
def test_the_budget_is_met_exactly_and_migrants_arrive(make: Make, tmp_path: Path, marks: Path, search: str) -> None:
    evaluator = DoubleEvaluator(marks, seconds=0.1)
    with make(Budget(evaluations=180), evaluator=evaluator, search=search, count=3, in_flight=4) as archipelago:
        *_, last = archipelago.watch(0.05)
        (best, kernel), *_ = archipelago.best(3)
    assert last.done
    assert last.reason == "180 evaluations are done"
    assert last.spent.evaluations == 180
    assert last.fraction == 1.0
    assert last.best == best
    assert kernel.id == best.kernel_id
    assert last.improvements[-1].fitness == best.fitness == last.spent.best_fitness
    assert sum(tally.nodes for tally in last.islands) == sum(last.statuses.values()) == 180
    assert [tally.island for tally in last.islands] == [0, 1, 2]
    assert len(evaluated(marks)) == 180
    store = SqliteStore(tmp_path / "run")
    for island in range(3):
        log = list(store.log(island))
        assert {node.island for node in log} > {island}
        own = [node for node in log if node.island == island]
        assert sorted(node.step for node in own) == list(range(len(own)))
    store.close()


def test_the_log_replays_the_strategy_that_the_island_ran(make: Make, tmp_path: Path) -> None:
    finish(make(Budget(evaluations=60), count=1, in_flight=1))
    store = SqliteStore(tmp_path / "run")
    log = list(store.log(0))
    store.close()
    strategy = instantiate(OmegaConf.load(CONF / "search" / "evolutionary.yaml"), seed=derive_seed(3, "island", 0))
    for node in log:
        assert strategy.ask(View(step=node.step)).parents == node.parents
        strategy.tell(node)


def test_islands_may_search_each_in_its_own_way(make: Make, tmp_path: Path) -> None:
    searches = ["one_shot", "mcts", "linear"]
    with make(Budget(seconds=120), search=searches, count=3, topology="complete") as archipelago:
        for progress in archipelago.watch(0.05):
            # However much sooner one of them has started.
            if [tally.island for tally in progress.islands if tally.nodes >= 50] == [0, 1, 2]:
                archipelago.finish("enough")
    store = SqliteStore(tmp_path / "run")
    logs = [[node for node in store.log(island) if node.island == island] for island in range(3)]
    foreign = [
        {parent.split(".")[1] for node in log for parent in node.parents} - {str(i)} for i, log in enumerate(logs)
    ]
    store.close()
    assert {node.phase for node in logs[0]} == {Phase.DRAFT}
    assert all(any(node.phase is Phase.EXPAND for node in log) for log in logs[1:])
    assert foreign[1] | foreign[2], "migrants are built upon"


def test_a_known_kernel_costs_no_evaluation_and_nothing_new_ends_the_run(
    make: Make, tmp_path: Path, marks: Path
) -> None:
    operator = DoubleOperator(kernels=12)
    evaluator = DoubleEvaluator(marks, seconds=0.05)
    last = finish(make(Budget(seconds=60), operator, evaluator, count=3, in_flight=4, max_repeats=40))
    assert last.reason == "the last 40 proposals were known kernels"
    assert sorted(evaluated(marks)) == sorted(set(evaluated(marks)))
    assert last.spent.evaluations == len(evaluated(marks)) == 12
    assert sum(tally.cached for tally in last.islands) == last.nodes - 12 >= 40
    store = SqliteStore(tmp_path / "run")
    for island in range(3):
        for node in store.log(island):
            assert node.evaluation == store.evaluation(node.kernel_id)
    store.close()


@pytest.mark.parametrize(("count", "in_flight"), [(1, 1), (3, 4)])
def test_an_operator_that_has_nothing_new_ends_the_run_at_once(
    make: Make, marks: Path, count: int, in_flight: int
) -> None:
    def session() -> Progress:
        operator, evaluator = DoubleOperator(kernels=12, ends=True), DoubleEvaluator(marks, seconds=0.05)
        return finish(make(Budget(seconds=60), operator, evaluator, count=count, in_flight=in_flight))

    last = session()
    assert last.reason == "all 12 kernels were judged"
    assert last.spent.evaluations == len(evaluated(marks)) == 12
    assert last.spent.seconds < 30
    again = session()
    assert again.reason == last.reason
    assert again.spent.evaluations == len(evaluated(marks)) == 12, (
        "what an island learns of others again costs no evaluation"
    )


def test_what_was_under_way_when_nothing_was_judged_and_why_kernels_failed(make: Make, marks: Path) -> None:
    evaluator = DoubleEvaluator(marks, seconds=600)
    with make(Budget(seconds=60), evaluator=evaluator, count=1, grace_seconds=0) as archipelago:
        for _ in archipelago.watch(0.05):
            if evaluated(marks):
                archipelago.finish("enough")
    assert archipelago.doing == ("double/draft was being evaluated",)
    with make(Budget(evaluations=60), evaluator=DoubleEvaluator(marks), count=1) as archipelago:
        *_, last = archipelago.watch(0.05)
        [(count, words)] = archipelago.diagnoses()
    assert count == 60 - last.statuses[Status.OK] > 0
    assert words.startswith("wrong_result: ")


def test_resuming_goes_on_where_the_run_ended(make: Make, tmp_path: Path, marks: Path) -> None:
    first = finish(make(Budget(evaluations=40), count=1))
    second = finish(make(Budget(evaluations=100), count=1))
    assert second.spent.evaluations == 100
    assert second.spent.seconds > first.spent.seconds
    assert second.spent.best_fitness >= first.spent.best_fitness
    assert len(evaluated(marks)) == len(set(evaluated(marks))) == 100
    third = finish(make(Budget(evaluations=100), count=1))
    assert third.spent.evaluations == 100
    assert third.nodes == second.nodes
    store = SqliteStore(tmp_path / "run")
    own = sorted(node.step for node in store.log(0))
    assert own == sorted(set(own))
    store.close()


def test_the_clock_ends_the_run_and_what_hangs_is_cancelled(make: Make, marks: Path) -> None:
    evaluator = DoubleEvaluator(marks, seconds=1000)
    began = time.monotonic()
    last = finish(make(Budget(seconds=1), evaluator=evaluator, grace_seconds=0.2))
    assert time.monotonic() - began < 15
    assert last.reason == "1 s are over"
    assert last.nodes == 0
    assert last.best is None


def test_failures_that_are_ours_are_retried(make: Make, marks: Path) -> None:
    operator, evaluator = DoubleOperator(failures=2), DoubleEvaluator(marks, failures=2)
    last = finish(make(Budget(evaluations=20), operator, evaluator, count=1, retries=3))
    assert last.spent.evaluations == 20
    assert len(evaluated(marks)) == 22


@pytest.mark.parametrize("what", ["operator", "evaluator"])
def test_failures_that_stay_reach_the_driver(make: Make, marks: Path, what: str) -> None:
    operator = DoubleOperator(failures=1000 * (what == "operator"))
    evaluator = DoubleEvaluator(marks, failures=1000 * (what == "evaluator"))
    with pytest.raises(OSError, match=f"the double {what} is out of order"):
        finish(make(Budget(evaluations=20), operator, evaluator, retries=1))


def test_what_an_actor_raises_for_a_person_is_raised_at_once(make: Make) -> None:
    evaluator = RefusingEvaluator(ray.remote(Refusing).remote())
    with pytest.raises(UserError, match=r"^the judge has no room$"):
        finish(make(Budget(evaluations=20), evaluator=evaluator, count=1, in_flight=1, retries=3))
    assert ray.get(evaluator.actor.asked.remote()) == 1


@pytest.mark.parametrize(
    ("budget", "reason"),
    [(Budget(tokens=2000), "2000 tokens are used"), (Budget(cost=0.5), "0.5 dollars are spent")],
)
def test_what_models_take_ends_a_run(make: Make, tmp_path: Path, budget: Budget, reason: str) -> None:
    operator = DoubleOperator(usage=Usage(tokens=100, cost=0.025))
    with make(budget, operator) as archipelago:
        *_, last = archipelago.watch(0.02)
    assert last.reason == reason
    assert last.spent.usage.tokens == 100 * last.nodes
    in_flight = 2 * 2
    assert 20 <= last.nodes <= 20 + in_flight
    store = SqliteStore(tmp_path / "run")
    assert store.statistics()["tokens"] == last.spent.usage.tokens
    store.close()


def test_what_agents_had_judged_on_the_way_counts_as_evaluations(make: Make) -> None:
    with make(Budget(evaluations=40), DoubleOperator(extra_evaluations=3)) as archipelago:
        *_, last = archipelago.watch(0.02)
    in_flight = 2 * 2
    assert last.reason == "40 evaluations are done"
    assert last.spent.evaluations == 4 * last.nodes
    assert 10 <= last.nodes <= 10 + in_flight


def test_what_models_took_for_known_kernels_counts(make: Make) -> None:
    operator = DoubleOperator(kernels=25, usage=Usage(tokens=10))
    with make(Budget(evaluations=25), operator) as archipelago:
        *_, last = archipelago.watch(0.02)
    assert last.spent.usage.tokens > 10 * last.nodes


def test_an_island_that_dies_is_started_again(make: Make, tmp_path: Path, marks: Path) -> None:
    until_then: int | None = None
    with make(Budget(evaluations=200), evaluator=DoubleEvaluator(marks, seconds=0.02)) as archipelago:
        for progress in archipelago.watch(0.05):
            if progress.nodes > 30 and until_then is None:
                ray.kill(archipelago._islands[0])
                until_then = progress.islands[0].nodes
    assert until_then is not None
    assert progress.restarts == 1
    assert progress.spent.evaluations == 200
    # What the island had in flight when it died is all that may have been evaluated again.
    assert len(evaluated(marks)) - 200 <= 2
    store = SqliteStore(tmp_path / "run")
    own = [node.step for node in store.log(0) if node.island == 0]
    # It goes on after it was started again: the two that were in flight are not all that came.
    assert len(own) == len(set(own)) > until_then + 2
    store.close()


def test_islands_that_keep_dying_end_the_run(make: Make, marks: Path) -> None:
    def kill_the_second(archipelago: Archipelago) -> None:
        with archipelago:
            for progress in archipelago.watch(0.05):
                if progress.nodes:
                    ray.kill(archipelago._islands[1])

    archipelago = make(Budget(seconds=60), evaluator=DoubleEvaluator(marks, seconds=0.02), restarts=1)
    with pytest.raises(UserError, match="an island dies again and again"):
        kill_the_second(archipelago)


def test_a_second_driver_is_refused(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("islands.archipelago._LOCK_PATIENCE_SECONDS", 0.1)
    with make(Budget(evaluations=10**6)) as first:
        with pytest.raises(UserError, match="another run uses"), make(Budget(evaluations=10)):
            pass
        next(first.watch(0.05))


def test_leaving_early_writes_what_is_judged(make: Make, tmp_path: Path, marks: Path) -> None:
    with make(Budget(evaluations=10**6)) as archipelago:
        for progress in archipelago.watch(0.05):
            if progress.nodes > 50:
                break
    store = SqliteStore(tmp_path / "run")
    assert store.statistics()["nodes"] >= progress.nodes
    assert len(evaluated(marks)) - store.statistics()["nodes"] <= 4
    store.close()


def test_strategies_must_fit_the_islands(make: Make, tmp_path: Path) -> None:
    plan = make(Budget(evaluations=1), count=3)._plan
    with pytest.raises(UserError, match=r"2 strategies for islands\.count=3"):
        Archipelago(folder=tmp_path, budget=Budget(), plan=plan, strategies=[{}, {}])


def test_islands_do_not_import_torch(make: Make) -> None:
    class Spy(DoubleOperator):
        async def propose(self, expansion, context):  # type: ignore[no-untyped-def]
            import sys

            assert "torch" not in sys.modules
            return await super().propose(expansion, context)

    assert finish(make(Budget(evaluations=3), Spy())).spent.evaluations == 3
