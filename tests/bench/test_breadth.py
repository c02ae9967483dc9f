"""The benchmark of breadth: small copies of problems, and what its bars say of rows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from kernelevolve.core.errors import UserError
from scripts.bench.breadth.problems import name_of, problems_of, sample, shrunk_copy
from scripts.bench.breadth.shrink import Limits, shrink
from scripts.bench.breadth.table import bars, table, verdict_bars
from scripts.bench.breadth.trying import Row, Search, Verdicts, copy_of, judged

PROBLEM = """
import torch
from torch import nn


class Model(nn.Module):
    def __init__(self, features, heads):
        super(Model, self).__init__()
        assert features % heads == 0
        self.heads = heads
        self.linear = nn.Linear(features, features)

    def forward(self, x, y):
        return self.linear(x) * y


batch_size = 4096
features, heads = 2048, 16


def get_inputs():
    return [torch.rand(batch_size, features), torch.rand(4096, 1)]


def get_init_inputs():
    return [features, heads]
"""


def _namespace(source: str) -> dict[str, object]:
    found: dict[str, object] = {}
    exec(source, found)
    return found


def test_a_copy_is_within_the_limits_and_still_takes_its_inputs() -> None:
    found = shrink(PROBLEM, Limits(seconds=0.002, held_bytes=4e6))
    module = _namespace(found.source)
    x, y = module["get_inputs"]()  # type: ignore[operator]
    model = module["Model"](*module["get_init_inputs"]())  # type: ignore[operator]
    assert model(x, y).shape == x.shape
    assert 4 * (x.numel() + y.numel() + model.linear.weight.numel()) < 4.1e6
    assert not found.note
    assert "heads" not in " ".join(found.changes)


def test_sizes_that_must_be_equal_are_halved_together() -> None:
    found = shrink(PROBLEM.replace("2048", "8").replace("16", "2"), Limits(seconds=1e-5, held_bytes=4e6))
    module = _namespace(found.source)
    x, y = module["get_inputs"]()  # type: ignore[operator]
    assert x.shape[0] == y.shape[0] < 4096


def test_a_problem_that_needs_data_is_left_as_it_is_and_says_so() -> None:
    source = PROBLEM.replace("self.linear(x) * y", "self.linear(x) * y[0].item()")
    found = shrink(source)
    assert found.source == source
    assert found.note.startswith("as it is: ")


def test_the_copy_of_a_reference_defines_the_kernel_and_gives_the_same() -> None:
    module = _namespace(copy_of(PROBLEM.replace("4096", "8").replace("2048", "32")))
    assert "Model" not in module
    torch.manual_seed(0)
    model = module["ModelNew"](32, 16)  # type: ignore[operator]
    assert model(torch.ones(8, 32), torch.ones(8, 1)).shape == (8, 32)


def test_problems_of_a_clone_are_found_by_level_and_number(tmp_path: Path) -> None:
    for name in ("level1/10_b.py", "level1/2_a.py", "level2/1_c.py", "level1/notes.py"):
        path = tmp_path / "clone" / "KernelBench" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(PROBLEM)
    problems = problems_of(tmp_path / "clone", (1, 2))
    assert [name_of(problem) for problem in problems] == ["1/2_a", "1/10_b", "2/1_c"]
    assert len(sample(problems, 2, seed=1)) == 2
    path, copy = shrunk_copy(problems[0], tmp_path / "out")
    assert path.read_text() == copy.source
    with pytest.raises(UserError, match="has no level3: it has level1, level2"):
        problems_of(tmp_path / "clone")


def _row(name: str, search: Search, copies: str = "ok") -> Row:
    return Row(name, ("batch_size 8 -> 4",), "", {"strict": copies}, search)


_RIGHT = Search(
    start="builtin/draft: the default schedule",
    best="builtin/mutate: tile 4 -> 8",
    speedup=2.0,
    interval=(1.9, 2.1),
    over_compile=1.5,
    kernels=9,
    first_correct=3.0,
)


def test_rows_survive_their_journal() -> None:
    for row in (_row("1/1", _RIGHT), Row("1/2"), _row("1/3", Search(refused="exit code 2: no"))):
        assert Row.from_json(row.to_json()) == row


@pytest.mark.parametrize(
    ("row", "missed"),
    [
        (_row("1/1", _RIGHT), ""),
        (_row("1/1", _RIGHT, copies="wrong_result: off"), "copies of the reference ok, strict: 0 of 1"),
        (_row("1/1", Search(start="builtin/draft: x", kernels=4, why="wrong_result: off")), "without a correct kernel"),
        (_row("1/1", Search(**{**vars(_RIGHT), "speedup": 0.9})), "at least 0.97x eager"),
        (_row("1/1", Search(**{**vars(_RIGHT), "first_correct": 21.0})), "first correct kernel"),
        (_row("1/1", Search(**{**vars(_RIGHT), "over_compile": 1.1})), "over torch.compile"),
    ],
)
def test_each_bar_can_be_missed(row: Row, missed: str) -> None:
    lines, met = bars([row])
    assert met is not bool(missed)
    assert [line.startswith(missed) for line in lines if line.endswith("MISSED")] == [True] * bool(missed)


def test_a_row_says_why_there_is_no_kernel() -> None:
    lost = _row("1/7_x", Search(start="builtin/draft: the default schedule", kernels=4, why="wrong_result: 3% | off"))
    assert (
        table([lost]).splitlines()[-1] == "| 1/7_x | traced | none correct | - | 4 | - | ok | wrong_result: 3% / off |"
    )


_FIRST = "builtin/draft: the default schedule"
_COPIES = {"strict": "ok", "kernelbench": "ok"}


@pytest.mark.parametrize(
    ("verdicts", "missed"),
    [
        (Verdicts("1/1", _COPIES, _FIRST), ""),
        (Verdicts("1/1", {}, refused="it draws random numbers"), ""),
        (Verdicts("1/1", _COPIES, complaints=("builtin/draft: off",)), "without a right draft"),
        (Verdicts("1/1", {}, broke="exit code 1: no"), "without a right draft"),
        (
            Verdicts("1/1", {**_COPIES, "kernelbench": "wrong_result: off"}, _FIRST),
            "copies of the reference ok, kernelbench",
        ),
    ],
)
def test_each_bar_of_verdicts_can_be_missed(verdicts: Verdicts, missed: str) -> None:
    lines, met = verdict_bars([Verdicts.from_json(verdicts.to_json())])
    assert met is not bool(missed)
    assert [line.startswith(missed) for line in lines if line.endswith("MISSED")] == [True] * bool(missed)


def test_a_problem_is_judged_in_a_process_of_its_own(tmp_path: Path) -> None:
    right, random, broken = (tmp_path / f"{name}.py" for name in ("right", "random", "broken"))
    small = PROBLEM.replace("4096", "16").replace("2048", "32")
    right.write_text(small)
    random.write_text(small.replace("* y", "* y * torch.rand(1)"))
    broken.write_text("import nothing_of_this_name")
    core = min(os.sched_getaffinity(0))
    row = judged("1/1", right, [core])
    assert (row.first, row.copies, row.refused) == (_FIRST, _COPIES, ""), row
    assert "not deterministic" in judged("1/2", random, [core]).refused
    assert "defines no class Model" in judged("1/3", broken, [core]).refused
    assert judged("1/4", right, [1 << 20]).broke.startswith("exit code 1: OSError"), "no machine has this core"


def test_a_folder_that_is_no_clone_is_a_mistake_in_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "scripts.bench.breadth", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "name a clone of https" in done.stderr.splitlines()[-1]
