"""Composing the settings, and what a mistake in them says."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from kernelevolve import config
from kernelevolve.core.errors import UserError


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("budgt.seconds=3", "budget.seconds"),
        ("seeds=3", "did you mean seed?"),
        ("seed=1.5", "seed=1.5"),
        ("seed=-1", "seed=-1"),
        ("+colour=red", "colour"),
        ("+budget.tea=1", "budget.tea"),
        ("~seed", "seed has no value"),
        ("budget.seconds=0", "budget.seconds=0"),
        ("search=magic", "one of ageing, evolutionary, greedy"),
        ("search=null", "one of ageing, evolutionary, greedy"),
        ("search.drafts=some", "search.drafts"),
        ("+search.tea=1", "tea"),
        ("search._target_=no.such.Class", "no.such.Class"),
        ("operator.attempts=many", "operator.attempts"),
        ("seed=1,2", "-m"),
        ("budget=[1", "budget=[1"),
        ("seed", "key=value"),
        ("seed=${nothing}", "nothing"),
    ],
)
def test_a_mistake_is_named(override: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        config.load(["task=x", override])
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_without_a_task_the_mistake_says_how_to_name_one() -> None:
    with pytest.raises(UserError, match="task=NAME_OR_FILE"):
        config.load([])


def test_paths_mean_themselves() -> None:
    """Commas, brackets, equals signs and quotes mean something to Hydra, but not in a path."""
    for name in ("a,b", "a(1)=[x]", "it's here", "with space", "back\\slash"):
        settings = config.load([f"task=/tmp/{name}.py", f"run.dir=/tmp/{name}"])
        assert settings.task == f"/tmp/{name}.py"
        assert settings.run.dir == f"/tmp/{name}"


_BESIDE = {
    "operator=llm": ("llm=openai", "llm.models=[tiny]"),
    "operator=hybrid": ("llm=openai", "llm.models=[tiny]"),
    "llm=openai": ("operator=llm", "llm.models=[tiny]"),
    "llm=vllm": ("operator=llm", "llm.models=[tiny]"),
    "llm=replay": ("operator=llm", "llm.models=[tiny]", "llm.backend.recording=run"),
}
"""What an option wants besides."""


def test_every_shipped_option_of_every_group_is_valid() -> None:
    groups = [path for path in config.config_dir().iterdir() if path.is_dir()]
    assert groups
    for group in groups:
        for option in group.glob("*.yaml"):
            chosen = f"{group.name}={option.stem}"
            settings = config.load(["task=x", *_BESIDE.get(chosen, ()), chosen])
            assert settings.search.build("search", seed=0) is not None


def test_settings_survive_a_file() -> None:
    settings = config.load(["task=x", "budget.evaluations=7", "search=greedy", "seed=3"])
    assert config.check(yaml.safe_load(yaml.safe_dump(config.dump(settings)))) == settings


def test_islands_may_hold_different_strategies() -> None:
    mixed = config.load(["task=x", "islands=[mcts,greedy]", "islands.topology=star"])
    assert [s.target.rpartition(".")[2] for s in mixed.island_strategies()] == ["Mcts", "Greedy"]
    assert mixed.islands.topology == "star"
    more = config.load(["task=x", "islands=[mcts,greedy]", "islands.count=3"])
    assert [s.target.rpartition(".")[2] for s in more.island_strategies()] == ["Mcts", "Greedy", "Mcts"]
    assert config.check(config.dump(more)) == more
    same = config.load(["task=x", "search=linear"])
    assert {s.target.rpartition(".")[2] for s in same.island_strategies()} == {"Linear"}


@pytest.mark.parametrize(("value", "said"), [("[mcst]", "there is no strategy mcst"), ("[]", "name the strategy")])
def test_a_strategy_of_an_island_that_is_not_there(value: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        config.load(["task=x", f"islands={value}"])


def test_a_value_that_the_strategy_refuses_is_the_users_mistake() -> None:
    settings = config.load(["task=x", "search.drafts=0"])
    with pytest.raises(UserError, match=r"search\.drafts=0"):
        settings.search.build("search", seed=0)


def test_sweeps_are_every_combination(tmp_path: Path) -> None:
    existing = tmp_path / "one,two.py"
    existing.touch()
    jobs = config.sweep([f"task={existing}", "search=greedy,evolutionary", "seed=range(0,3)"])
    loaded = [config.load(job) for job in jobs]
    assert len({(job.search.target, job.seed) for job in loaded}) == len(jobs) == 6
    assert {job.task for job in loaded} == {str(existing)}


def test_a_mistake_in_one_job_of_a_sweep_is_found_first() -> None:
    with pytest.raises(UserError, match="no such option"):
        config.sweep(["task=x", "search=greedy,magic"])
