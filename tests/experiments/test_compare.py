"""The command, with what it writes."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from kernelevolve.cli import main

from .conftest import MakeRun

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def folders(make_run: MakeRun) -> list[str]:
    runs = []
    for seed in range(3):
        runs.append(make_run(f"m{seed}", [1.0, 2.0 + seed, 4.0], "search=mcts", f"seed={seed}"))
        runs.append(make_run(f"g{seed}", [1.0, 1.0, 2.0 + seed / 10, 9.0], "search=greedy", f"seed={seed}"))
    return [str(run) for run in runs]


def test_tables_plots_and_csv(folders: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out" / "deep"
    assert main(["compare", *folders, "--out", str(out), "--speedup", "2", "--speedup", "8"]) == 0
    shown = capsys.readouterr().out
    assert "the first 3 evaluations of each run" in shown
    assert shown.index("mcts") < shown.index("greedy")
    for name in ("evaluations.png", "seconds.png"):
        assert (out / name).read_bytes().startswith(PNG)
        assert name in shown
    rows = list(csv.DictReader((out / "curves.csv").open()))
    assert len(rows) == 3 * 3 + 3 * 4
    assert {row["label"] for row in rows} == {"mcts", "greedy"}
    told = json.loads((out / "comparison.json").read_text())
    assert told["horizon"] == 3
    assert [group["label"] for group in told["groups"]] == ["mcts", "greedy"]
    assert told["groups"][0]["final"]["value"] == 4.0
    assert told["groups"][0]["reached"]["8"]["evaluations"] is None
    assert told["duels"][0]["better"]["value"] == 1.0


def test_json_is_one_object(folders: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *folders, "--json", "--by", "seed"]) == 0
    assert {group["label"] for group in json.loads(capsys.readouterr().out)["groups"]} == {"0", "1", "2"}


@pytest.mark.parametrize(("words", "said"), [(["/nowhere"], "holds no run"), ([], "required")])
def test_mistakes_are_one_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.strip().splitlines()) == 1
