"""A run's graph, looked at while it is written and afterwards."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from rich.console import Console

from kernelevolve.cli import main
from kernelevolve.core.errors import UserError
from kernelevolve.report import graph
from kernelevolve.store.reader import GraphReader
from kernelevolve.store.sqlite import SqliteStore
from tests.conformance.records import make_entry


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    store = SqliteStore(tmp_path)
    store.insert(
        [
            make_entry(0, 1.0),
            make_entry(1, 2.0, parents=("run.0.0",)),
            make_entry(2, 0.0, parents=("run.0.0",)),
            make_entry(3, 3.0, parents=("run.0.1", "run.0.0")),
            make_entry(0, 1.5, island=1),
        ]
    )
    store.close()
    return tmp_path


def test_a_node_is_shown_with_its_relatives(folder: Path) -> None:
    with closing(GraphReader(folder)) as reader:
        best = graph.find(reader, "best")
        assert best.id == graph.find(reader, "0.3").id == graph.find(reader, "run.0.3").id == "run.0.3"
        found = graph.neighbourhood(reader, best)
        assert [node.id for node in found.lineage] == ["run.0.1", "run.0.0"]
        assert [node.id for node in found.siblings] == ["run.0.1", "run.0.2"]
        assert found.children == ()
        root = graph.neighbourhood(reader, graph.find(reader, "0.0"))
    assert [node.id for node in root.children] == ["run.0.3", "run.0.1", "run.0.2"]
    assert root.lineage == root.siblings == ()


def test_an_overview_adds_up(folder: Path) -> None:
    with closing(GraphReader(folder)) as reader:
        found = graph.overview(reader, 2)
    assert [node.id for node in found.best] == ["run.0.3", "run.0.1"]
    assert found.statistics["nodes"] == sum(origin.nodes for origin in found.origins) == 5
    assert {(o.island, o.correct, o.best_fitness) for o in found.origins} == {(0, 3, 3.0), (1, 1, 1.5)}


def test_a_graph_that_is_being_written_can_be_read(folder: Path) -> None:
    store = SqliteStore(folder)
    with closing(GraphReader(folder)) as reader:
        store.insert([make_entry(9, 9.0)])
        assert graph.find(reader, "best").id == "run.0.9"
        store.insert([make_entry(10, 10.0)])
        assert graph.find(reader, "best").id == "run.0.10"
    store.close()


def test_what_is_printed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["graph", str(folder)]) == 0
    assert "5 nodes, 5 kernels (4 ok, 1 wrong_result), best 3.00x" in capsys.readouterr().out
    assert main(["graph", str(folder), "0.2"]) == 0
    shown = capsys.readouterr().out
    assert "run.0.2: wrong_result" in shown
    assert "it is wrong" in shown
    assert main(["graph", str(folder), "best", "--source"]) == 0
    assert capsys.readouterr().out == "# kernel 3\n"
    assert main(["graph", str(folder), "best", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [node["id"] for node in told["lineage"]] == ["run.0.1", "run.0.0"]
    console = Console(record=True, width=100, file=(folder / "out").open("w"))
    with closing(GraphReader(folder)) as reader:
        console.print(graph.view(graph.neighbourhood(reader, graph.find(reader, "best"))))
    assert "parents: run.0.1, run.0.0" in console.export_text()


@pytest.mark.parametrize("name", ["0.7", "x", "1.2.3", "-1.0", "0.99999999999999999999"])
def test_a_node_that_is_not_there(folder: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["graph", str(folder), "--", name]) == 2
    assert f"there is no node {name}" in capsys.readouterr().err


def test_folders_without_a_graph(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no run's graph"):
        GraphReader(tmp_path)
    (tmp_path / "graph.sqlite").write_text("something else, and long enough to be looked at as a database")
    with pytest.raises(UserError, match="is not a run's graph"):
        GraphReader(tmp_path)
    (tmp_path / "graph.sqlite").unlink()
    SqliteStore(tmp_path).close()
    with pytest.raises(UserError, match="there is no best node"), closing(GraphReader(tmp_path)) as reader:
        graph.find(reader, "best")
    with sqlite3.connect(tmp_path / "graph.sqlite") as connection:
        connection.execute("UPDATE meta SET value = '99'")
    with pytest.raises(UserError, match="has format 99"):
        GraphReader(tmp_path)
