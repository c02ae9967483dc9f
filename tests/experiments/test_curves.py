from __future__ import annotations

import numpy as np
import pytest

from kernelevolve.core.errors import UserError
from kernelevolve.experiments.curves import read_curves

from .conftest import MakeRun


def test_a_curve_is_the_best_so_far_of_distinct_kernels(make_run: MakeRun) -> None:
    [curve] = read_curves([make_run("a", [0.0, 2.0, 1.0, 3.0], "search=mcts")], "search")
    assert curve.label == "mcts"
    assert curve.best.tolist() == [0.0, 2.0, 2.0, 3.0]
    assert curve.seconds.tolist() == [0.0, 1.0, 2.0, 3.0]
    assert curve.at_seconds(np.array([0.5, 1.0, 2.5, 99.0])).tolist() == [0.0, 2.0, 2.0, 3.0]
    assert curve.reached(2.0) == (2, 1.0)
    assert curve.reached(2.5) == (4, 3.0)
    assert curve.reached(3.5) is None


def test_labels(make_run: MakeRun) -> None:
    mixed = make_run("a", [1.0], "islands=[mcts,greedy]")
    plain = make_run("b", [1.0], "seed=7")
    assert [c.label for c in read_curves([mixed, plain], "search")] == ["mcts+greedy", "evolutionary"]
    assert [c.label for c in read_curves([mixed, plain], "seed")] == ["0", "7"]
    assert [c.label for c in read_curves([plain], "islands.topology")] == ["ring"]
    with pytest.raises(UserError, match="no such setting"):
        read_curves([plain], "islands.shape")


def test_what_cannot_be_compared(make_run: MakeRun) -> None:
    here, other, empty = make_run("a", [1.0]), make_run("b", [1.0], task="other"), make_run("c", [])
    with pytest.raises(UserError, match="different tasks"):
        read_curves([here, other], "search")
    with pytest.raises(UserError, match="nothing to compare"):
        read_curves([here, empty], "search")
    with pytest.raises(UserError, match="holds no run"):
        read_curves([here.parent], "search")
