"""Tables of kernels: what a point leads to, on disk and back, and how a space becomes one."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from devices.cpu import CpuDevice
from evaluators.settings import TimingSettings
from kernelevolve import config
from kernelevolve.core.errors import UserError
from kernelevolve.core.evaluation import Evaluation, Measurement, Ratio, Status
from kernelevolve.core.kernel import Kernel, KnobValue
from kernelevolve.core.task import Task
from kernelevolve.experiments.tabular.measuring import Journal, Row, measure, table_of
from kernelevolve.experiments.tabular.space import kernels_of, knobs_of, part_of, place_of
from kernelevolve.experiments.tabular.table import Table, path_of, shipped
from kernelevolve.synthesis.builtin.base import Written
from kernelevolve.synthesis.builtin.knobs import Choices

from .tables import KNOBS, hill, make_table


def plain(point: Mapping[str, KnobValue]) -> Written:
    """A writer with knobs that depend on each other: `depth` is there only where the kernel is `deep`."""
    choices = Choices(dict(point))
    choices.number("rows", 4, 1, 2, 8)
    if choices.flag("deep", False):
        choices.number("depth", 2, 1, 3)
    choices.word("math", "exact", "fast")
    source = json.dumps(choices.values, sort_keys=True)
    kernel = Kernel(source=source, language="python", knobs=choices.values)
    return Written(kernel, dict(choices.space), {"passes": 1.0 + bool(choices.values["deep"])})


def test_a_point_leads_to_its_kernel_and_back() -> None:
    table = make_table()
    assert len(table) == 6 * 5 * 2 * 3
    for row in range(len(table)):
        assert table.row(table.point(row)) == row
        assert table.speedup[row] == pytest.approx(hill(table.point(row)))
    assert table.point(table.row({"fused": True})) == {"rows": 1, "lanes": 4, "fused": True, "math": "exact"}
    assert set(table.space(0)) == {knob.name for knob in KNOBS}


def test_points_whose_kernels_are_the_same_are_one_row() -> None:
    table = make_table(absent=lambda point: () if point["fused"] else ("math",))
    assert len(table) == 6 * 5 * (1 + 3)
    row = table.row({"math": "table"})
    assert table.point(row) == {"rows": 1, "lanes": 4, "fused": False}
    assert "math" not in table.space(row)
    assert row == table.row({"math": "polynomial"})


def test_a_table_survives_the_file(tmp_path: Path) -> None:
    table = make_table(lambda point: 0.0 if point["rows"] == 2 else hill(point), deviation=0.03)
    table.save(tmp_path / "t.npz")
    back = Table.load(tmp_path / "t.npz")
    assert (back.task, back.knobs, back.default, back.about) == (table.task, table.knobs, table.default, table.about)
    for name in ("row_of", "place", "status", "speedup", "deviation", "seconds"):
        assert np.array_equal(getattr(back, name), getattr(table, name))
    assert back.verdict(back.row({"rows": 2})) is Status.WRONG_RESULT
    assert back.row({"fused": True}) == table.row({"fused": True})
    assert np.array_equal(back.traits["passes"], table.traits["passes"])


@pytest.mark.parametrize("content", [b"", b"not a table", None])
def test_what_is_no_table_is_told_in_a_line(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "t.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match="no such table" if content is None else "not a table"):
        Table.load(path_of(str(path)))


def test_an_archive_without_a_head_is_no_table(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", x=np.zeros(3))
    with pytest.raises(UserError, match="not a table"):
        Table.load(tmp_path / "t.npz")


def test_a_table_of_another_format_is_refused(tmp_path: Path) -> None:
    make_table().save(tmp_path / "t.npz")
    with np.load(tmp_path / "t.npz") as file:
        arrays = dict(file)
    head = json.loads(arrays["head"].tobytes())
    arrays["head"] = np.frombuffer(json.dumps({**head, "format": 99}).encode(), dtype=np.uint8)
    np.savez(tmp_path / "t.npz", **arrays)
    with pytest.raises(UserError, match="format 99"):
        Table.load(tmp_path / "t.npz")


def test_knobs_that_hang_on_others_are_found() -> None:
    assert set(knobs_of(plain)) == {"rows", "deep", "depth", "math"}
    part = part_of({"depth": ["1", "3"], "rows": ["all"], "deep": ["true", "false"]}, plain)
    assert [knob.name for knob in part.knobs] == ["depth", "rows", "deep"]
    assert part.shape == (2, 4, 2)
    assert dict(zip(("depth", "rows", "deep"), part.default, strict=True))["rows"] == 2, "rows is 4 by default"


@pytest.mark.parametrize(
    ("wanted", "said"),
    [({"nothing": ["1"]}, "no knob nothing"), ({"rows": ["3"]}, "takes 1, 2, 4, 8"), ({"deep": ["1"]}, "false, true")],
)
def test_a_part_that_is_none_is_told(wanted: dict[str, list[str]], said: str) -> None:
    with pytest.raises(UserError, match=said):
        part_of(wanted, plain)


def test_each_kernel_of_a_part_is_written_once() -> None:
    part = part_of({"rows": ["1", "4"], "deep": ["all"], "depth": ["all"]}, plain)
    kernels = kernels_of(part, plain)
    assert kernels.row_of.shape == (2, 2, 3)
    assert len(kernels.written) == 2 * (1 + 3)
    for at in itertools.product(range(2), range(2), range(3)):
        written = kernels.written[kernels.row_of[at]]
        assert written.kernel.knobs["rows"] == part.knobs[0].domain[at[0]]
    shallow = next(w for w in kernels.written if not w.kernel.knobs["deep"])
    assert place_of(part, shallow)[2] == -1


TASK = Task(
    name="scale",
    source="""import torch
from torch import nn


class Model(nn.Module):
    def forward(self, x):
        return x * 2


def get_inputs():
    return [torch.randn(64, 64)]


def get_init_inputs():
    return []
""",
)


def test_measuring_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    """Kernels are judged for real, two of which are wrong."""

    def write(point: Mapping[str, KnobValue]) -> Written:
        choices = Choices(dict(point))
        factor = choices.number("factor", 2, 3)
        choices.number("version", 1, 2)
        body = f"class ModelNew(Model):\n    version = {choices.values['version']}\n"
        source = TASK.source.replace("x * 2", f"x * {factor}") + f"\n\n{body}"
        return Written(Kernel(source=source, language="python", knobs=choices.values), dict(choices.space), {})

    part = part_of({"factor": ["all"], "version": ["all"]}, write)
    kernels = kernels_of(part, write)
    sources = [written.kernel for written in kernels.written]
    short = [f"evaluation.final.{word}" for word in ("max_seconds=0.3", "min_rounds=6")]
    settings = config.load(["evaluation.cache=off", *short], task="x").evaluation
    path, device = tmp_path / "journal", CpuDevice()
    with Journal(path, TASK, settings) as journal:
        measure(TASK, device, settings, sources[:1], journal)
    with path.open("a") as file:
        file.write('\n["cut of')
    heard: list[int] = []
    with Journal(path, TASK, settings) as journal:
        assert set(journal.rows) == {sources[0].id}
        first = journal.rows[sources[0].id]
        assert first.confirmed
        measure(TASK, device, settings, sources, journal, heard.append)
        assert journal.rows[sources[0].id] == first, "it is not judged again"
        assert {row.confirmed for row in journal.rows.values() if row.status is Status.OK} == {True}
        table = table_of(TASK, "cpu", {}, part, kernels, journal)
    assert heard == [1, 2, 3, 4]
    for factor, version in itertools.product((2, 3), (1, 2)):
        row = table.row({"factor": factor, "version": version})
        assert table.verdict(row) is (Status.OK if factor == 2 else Status.WRONG_RESULT)
        assert (table.speedup[row] > 0) == (factor == 2)
        assert table.seconds[row] > 0
    assert table.deviation.max() > 0
    other = settings.model_copy(update={"trials": 7})
    with pytest.raises(UserError, match="something else"):
        Journal(path, TASK, other)


def test_the_fittest_are_measured_until_none_is_there_by_luck(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels that are alike, measured with noise: what the first of them are said to be is what a second look says."""
    kernels = [Kernel(source=str(number), language="python") for number in range(400)]
    rng = random.Random(0)

    class Noisy:
        """Stands for the evaluator, which could not judge 400 kernels here."""

        def __init__(self, *_: object) -> None: ...
        def warm(self) -> None: ...
        def close(self) -> None: ...
        def compile(self, kernel: Kernel) -> None: ...
        def evaluate(self, kernel: Kernel, timing: TimingSettings | None = None) -> Evaluation:
            value = rng.lognormvariate(0.0, 0.1 if timing is None else 0.01)
            speedup = Ratio(value=value, low=0.9 * value, high=1.1 * value)
            measured = Measurement(speedup=speedup, reference_seconds=1.0, kernel_seconds=1.0, rounds=6)
            return Evaluation(kernel_id=kernel.id, task_id="t", device="cpu", status=Status.OK, measurement=measured)

    monkeypatch.setattr("kernelevolve.experiments.tabular.measuring.Pipeline", Noisy)
    settings = config.load([], task="x").evaluation
    with Journal(tmp_path / "j", TASK, settings) as journal:
        measure(TASK, CpuDevice(), settings, kernels, journal)
        rows = sorted(journal.rows.values(), key=lambda row: -row.speedup)
    assert len(rows) == 400
    assert all(row.confirmed for row in rows[:20])
    assert rows[0].speedup < 1.05, "1.3 by luck"
    assert 20 < sum(row.confirmed for row in rows) < 300


def test_a_journal_holds_what_it_was_given(tmp_path: Path) -> None:
    settings = config.load([], task="x").evaluation
    row = Row(Status.OK, 2.5, 0.01, 0.75, confirmed=True)
    with Journal(tmp_path / "j", TASK, settings) as journal:
        journal.add("a", row)
    with Journal(tmp_path / "j", TASK, settings) as journal:
        assert journal.rows == {"a": row}


@pytest.mark.parametrize("name", sorted(shipped()))
def test_a_shipped_table_is_whole(name: str) -> None:
    table = Table.load(path_of(name))
    assert len(table) >= 2000
    assert table.row_of.min() == 0
    assert table.row_of.max() == len(table) - 1
    assert (table.speedup > 0).mean() > 0.5
    for row in range(0, len(table), 97):
        assert table.row(table.point(row)) == row
