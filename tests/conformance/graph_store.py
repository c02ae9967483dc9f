"""What every graph store keeps to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

import pytest

from kernelevolve.store.base import GraphStore
from tests.conformance.records import make_entry, make_kernel


class GraphStoreConformance(ABC):
    @abstractmethod
    def open(self, folder: Path) -> GraphStore:
        """The store of a folder, which may hold one already."""

    def test_what_was_inserted_is_there_after_opening_again(self, tmp_path: Path) -> None:
        first, second = make_entry(0, 1.5), make_entry(1, 0.0, parents=("run.0.0",))
        store = self.open(tmp_path)
        store.insert([first, second])
        store.close()
        store = self.open(tmp_path)
        assert store.node("run.0.0") == first[0]
        assert store.node("run.0.1") == second[0]
        assert store.kernel(first[1].id) == first[1]
        assert store.evaluation(second[1].id) == second[0].evaluation
        assert list(store.log(0)) == [first[0], second[0]]
        store.close()

    def test_unknown_ids(self, tmp_path: Path) -> None:
        store = self.open(tmp_path)
        with pytest.raises(KeyError):
            store.node("run.0.0")
        with pytest.raises(KeyError):
            store.kernel("0" * 16)
        with pytest.raises(KeyError):
            store.receive(0, ["run.0.0"])
        assert store.evaluation("0" * 16) is None
        assert store.best() == []
        assert list(store.log(0)) == []
        store.close()

    def test_inserting_the_same_node_again_changes_nothing(self, tmp_path: Path) -> None:
        store = self.open(tmp_path)
        store.insert([make_entry(0)])
        before = dict(store.statistics())
        store.insert([make_entry(0)])
        assert dict(store.statistics()) == before
        assert len(list(store.log(0))) == 1
        store.close()

    def test_an_insert_that_contradicts_the_store_inserts_nothing(self, tmp_path: Path) -> None:
        store = self.open(tmp_path)
        store.insert([make_entry(0, 1.0)])
        bad = [make_entry(0, 2.0), make_entry(5, parents=("run.9.9",)), (make_entry(5)[0], make_kernel(77))]
        for entry in bad:
            with pytest.raises(ValueError, match="node run"):
                store.insert([make_entry(4), entry])
        assert store.statistics()["nodes"] == 1
        assert [node.step for node in store.log(0)] == [0]
        store.close()

    def test_migrants_stand_in_the_log_once_where_they_arrived(self, tmp_path: Path) -> None:
        store = self.open(tmp_path)
        store.insert([make_entry(0, island=1), make_entry(0, kernel=5)])
        store.receive(0, ["run.1.0", "run.1.0"])
        store.insert([make_entry(1)])
        store.receive(0, ["run.1.0", "run.0.0"])
        assert [node.id for node in store.log(0)] == ["run.0.0", "run.1.0", "run.0.1"]
        assert [node.id for node in store.log(1)] == ["run.1.0"]
        store.close()

    def test_best_names_each_kernel_once_and_no_wrong_one(self, tmp_path: Path) -> None:
        store = self.open(tmp_path)
        store.insert([make_entry(step, fitness) for step, fitness in enumerate((1.0, 0.0, 3.0, 2.0))])
        store.insert([make_entry(4, 3.0, kernel=2, cached=True)])
        assert [node.id for node in store.best(10)] == ["run.0.2", "run.0.3", "run.0.0"]
        assert [node.id for node in store.best()] == ["run.0.2"]
        store.close()

    def test_children_are_found_under_each_of_their_parents(self, tmp_path: Path) -> None:
        store = self.open(tmp_path)
        store.insert([make_entry(0), make_entry(1), make_entry(2, parents=("run.0.1", "run.0.0"))])
        store.insert([make_entry(3, parents=("run.0.0",))])
        store.close()
        store = self.open(tmp_path)
        assert [node.id for node in store.children("run.0.0")] == ["run.0.2", "run.0.3"]
        assert [node.id for node in store.children("run.0.0", 1)] == ["run.0.2"]
        assert [node.id for node in store.children("run.0.1")] == ["run.0.2"]
        assert store.children("run.0.3") == []
        store.close()

    def test_nodes_and_edges_are_read_by_pages_while_more_come(self, tmp_path: Path) -> None:
        store = self.open(tmp_path)
        store.insert([make_entry(0), make_entry(1), make_entry(2, parents=("run.0.1", "run.0.0"))])
        first = store.page(0, 2)
        assert [node.id for _, node in first] == ["run.0.0", "run.0.1"]
        store.insert([make_entry(3, parents=("run.0.2",))])
        second = store.page(first[-1][0], 10)
        assert [node.id for _, node in second] == ["run.0.2", "run.0.3"]
        assert store.page(second[-1][0]) == []
        edges = store.edges(0, 1)
        assert [edge[1:] for edge in edges] == [("run.0.1", "run.0.2"), ("run.0.0", "run.0.2")], "of one node, together"
        more = store.edges(edges[-1][0], 1)
        assert [edge[1:] for edge in more] == [("run.0.2", "run.0.3")]
        assert store.edges(more[-1][0]) == []
        store.close()

    def test_statistics_count_distinct_kernels(self, tmp_path: Path) -> None:
        store = self.open(tmp_path)
        store.insert([make_entry(0, 1.0), make_entry(1, 2.0), make_entry(2, 0.0), make_entry(3, 1.5)])
        store.insert([make_entry(4, 2.0, kernel=1, cached=True, extra_evaluations=3)])
        statistics = store.statistics()
        assert statistics["nodes"] == 5
        assert statistics["kernels"] == 4
        assert statistics["best_fitness"] == 2.0
        assert statistics["since_improvement"] == 2
        assert statistics["seconds"] == 4.0
        assert statistics["status.ok"] == 3
        assert statistics["status.wrong_result"] == 1
        assert statistics["status.timeout"] == 0
        assert statistics["extra_evaluations"] == 3
        store.close()
        store = self.open(tmp_path)
        assert store.statistics() == statistics
        store.close()
