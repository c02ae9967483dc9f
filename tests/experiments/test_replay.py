"""Searches on tables: as the islands do it, and the same again."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kernelevolve import cli, config
from kernelevolve.core.errors import UserError
from kernelevolve.experiments.curves import Curve
from kernelevolve.experiments.tabular.jobs import Job, plan_of, replay_all
from kernelevolve.experiments.tabular.replay import replay
from kernelevolve.experiments.tabular.table import Table

from .tables import hill, make_table

STRATEGIES = ("one_shot", "random", "linear", "greedy", "mcts", "evolutionary", "ageing")


@cache
def composed(*overrides: str) -> dict[str, Any]:
    return config.compose([*overrides, "task=x"])


def run(table: Table, *overrides: str, seed: int = 0, evaluations: int = 60) -> Curve:
    return replay(plan_of(table, composed(*overrides), evaluations), "label", seed)


@pytest.mark.parametrize("search", STRATEGIES)
def test_every_strategy_gets_near_the_best_of_a_smooth_space(search: str) -> None:
    table = make_table(deviation=0.02)
    curve = run(table, f"search={search}", evaluations=120)
    assert len(curve) == 120
    assert (np.diff(curve.seconds) >= 0).all()
    assert curve.seconds[-1] == pytest.approx(60.0), "one judge, half a second for each"
    assert curve.best[-1] > 0.8 * table.best


@pytest.mark.parametrize("search", STRATEGIES)
def test_the_same_seed_gives_the_same_run(search: str) -> None:
    table = make_table(deviation=0.05)
    settings = (f"search={search}", "islands.count=3", "islands.migration_interval=4")
    first, again, other = (run(table, *settings, seed=seed) for seed in (7, 7, 8))
    assert np.array_equal(first.best, again.best)
    assert np.array_equal(first.seconds, again.seconds)
    assert not np.array_equal(first.best, other.best)


def test_searching_beats_drawing() -> None:
    table = make_table(deviation=0.02)

    def average(search: str) -> float:
        return float(np.mean([run(table, f"search={search}", seed=seed).best.mean() for seed in range(20)]))

    assert average("evolutionary") > average("one_shot")
    assert average("mcts") > average("one_shot")


def test_no_kernel_is_judged_twice_and_a_space_that_is_exhausted_ends_the_run() -> None:
    table = make_table()
    curve = run(table, "search=random", "islands.max_repeats=1000", evaluations=10_000)
    assert len(curve) == len(table)
    assert curve.best[-1] == pytest.approx(table.best)


def test_wrong_kernels_count_as_judged_and_bring_nothing() -> None:
    table = make_table(lambda point: 0.0 if point["fused"] else hill(point))
    curve = run(table, "search=evolutionary", evaluations=120)
    assert curve.best[-1] <= 0.6 * 4.0 + 1e-6
    wrong = make_table(lambda _: 0.0)
    assert not run(wrong, evaluations=50).best.any()


def test_of_noisy_measurements_the_true_value_is_told() -> None:
    table = make_table(deviation=0.3)
    curves = [run(table, "final.candidates=1", seed=seed, evaluations=150) for seed in range(6)]
    assert max(curve.best.max() for curve in curves) <= table.best + 1e-6, "a lucky measurement is no speedup"
    # And what was taken for the best may turn out slower than what it replaced.
    assert any((np.diff(curve.best) < 0).any() for curve in curves)


def test_islands_learn_from_each_other() -> None:
    table = make_table()

    def average(migrants: int) -> float:
        settings = ("search=greedy", "islands.count=6", "islands.migration_interval=3", f"islands.migrants={migrants}")
        return float(np.mean([run(table, *settings, seed=seed, evaluations=100).best.mean() for seed in range(20)]))

    assert average(2) != average(0)


def jobs(path: Path, searches: Sequence[str]) -> list[Job]:
    return [Job(path, name, composed(f"search={name}"), 40) for name in searches]


def test_replays_on_several_processes_are_those_of_one(tmp_path: Path) -> None:
    make_table(deviation=0.05).save(tmp_path / "t.npz")
    heard: list[int] = []
    several = replay_all(jobs(tmp_path / "t.npz", ["mcts", "greedy"]), range(6), 2, heard.append)
    alone = replay_all(jobs(tmp_path / "t.npz", ["mcts", "greedy"]), range(6), 1)
    assert [(c.label, c.run) for c in several] == [(n, f"seed {s}") for n in ("mcts", "greedy") for s in range(6)]
    assert heard[-1] == 12
    for a, b in zip(several, alone, strict=True):
        assert np.array_equal(a.best, b.best)


def test_a_setting_that_is_wrong_is_told_before_anything_runs(tmp_path: Path) -> None:
    make_table().save(tmp_path / "t.npz")
    wrong = composed("search=ageing", "search.population=1")
    with pytest.raises(UserError, match="population"):
        replay_all([Job(tmp_path / "t.npz", "x", wrong, 10)], [0], 1)


def test_the_command_compares_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_table(deviation=0.02).save(tmp_path / "t.npz")
    words = ["replay", str(tmp_path / "t.npz"), "search=mcts,one_shot", "islands.count=1,2"]
    assert cli.main([*words, "--runs", "3", "--evaluations", "40", "--out", str(tmp_path / "out"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    labels = {f"{search}, islands.count={count}" for search in ("mcts", "one_shot") for count in (1, 2)}
    assert {group["label"] for group in told["groups"]} == labels
    assert told["best"] == pytest.approx(4.0)
    assert told["horizon"] == 40
    assert (tmp_path / "out" / "evaluations.png").stat().st_size > 10_000
    with (tmp_path / "out" / "curves.csv").open() as file:
        assert sum(1 for _ in csv.reader(file)) == 1 + 4 * 3 * 40


def test_a_file_where_results_should_go_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_table().save(tmp_path / "t.npz")
    words = ["replay", str(tmp_path / "t.npz"), "--runs", "2", "--evaluations", "10", "--out", str(tmp_path / "t.npz")]
    assert cli.main(words) == 2
    assert "in the way" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere.npz"], "no such table"),
        (["{table}", "search=nothing"], "no such option"),
        (["{table}", "search.nothing=1"], "no setting search.nothing"),
        (["{table}", "search=mcts,mcts"], "twice"),
        (["{table}", "--runs", "0"], "at least 1"),
    ],
)
def test_mistakes_are_told_in_one_line(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_table().save(tmp_path / "t.npz")
    assert cli.main(["replay", *(word.format(table=tmp_path / "t.npz") for word in words)]) == 2
    error = capsys.readouterr().err.strip()
    assert said in error
    assert "\n" not in error


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["dlrm/nothing"], "nothing"),
        (["dlrm/swish_layernorm", "what"], "KNOB=VALUE"),
        (["dlrm/swish_layernorm", "nothing=1"], "no knob nothing"),
        (["dlrm/swish_layernorm", "threads=all", "threads=one"], "twice"),
        (["dlrm/swish_layernorm", "threads=all", "--out", "t.txt"], "npz"),
        (["dlrm/swish_layernorm", "threads=all", "--out", "nowhere/t.npz"], "no such folder"),
    ],
)
def test_mistakes_in_tabulating_are_told_in_one_line(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["tabulate", *words]) == 2
    error = capsys.readouterr().err.strip()
    assert said in error
    assert "\n" not in error


@pytest.mark.thorough
def test_tabulating_and_replaying_for_real(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "t.npz"
    words = ["dlrm/swish_layernorm", "threads=all,one", "evaluation.timing.max_seconds=0.05"]
    assert cli.main(["tabulate", "dlrm/swish_layernorm"]) == 0
    assert "threads=" in capsys.readouterr().out
    assert cli.main(["tabulate", *words, "--out", str(out)]) == 0
    table = Table.load(out)
    assert table.best > 0
    assert not list(tmp_path.glob("*.journal"))
    assert cli.main(["replay", str(out), "--runs", "2", "--evaluations", "2", "--json"]) == 0
    assert cli.main(["tabulate", *words, "--out", str(out)]) == 2
