"""The bench of figures on a busy machine: its bars can be missed, and its load makers end."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from evaluators.runtime.cpu.noise import others_running
from scripts.bench.busy.bars import missed, ranks, rows
from scripts.bench.busy.decisions import Decision
from scripts.bench.busy.kernels import RANKED, REPETITIONS
from scripts.bench.busy.loads import LOADS, under


def decision(load: str, value: float | None, repetitions: int = REPETITIONS, **changed: Any) -> Decision:
    told = None if value is None else (0.96 * value, 1.04 * value)
    plain = {
        "kind": "final",
        "load": load,
        "threads": "all",
        "repetitions": repetitions,
        "value": value,
        "low": told and told[0],
        "high": told and told[1],
        "not_measured": "" if told else "busy",
        "rank": value or 1.0,
        "seconds": 2.0,
        "rounds": 40,
        "disturbed_rounds": 9,
    }
    return Decision.model_validate({**plain, **changed})


QUIET = [decision("quiet", 1.0) for _ in range(5)]


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ([decision("busy50", 1.01)] * 9, []),
        ([decision("busy50", 0.9)] * 9, ["told within", "of the intervals"]),
        ([decision("busy50", 1.06)] * 9, ["of the intervals", "above 1.05"]),
        ([decision("busy50", 1.0), decision("busy50", None)], ["not measured"]),
        ([decision("busy50", 1.0, seconds=4.1)] * 3, ["times as long"]),
        ([decision("busy50", 1.0, low=0.8, high=1.3)] * 3, ["wider than"]),
        ([decision("two50", 1.15)] * 9, ["of the intervals", "above 1.05"]),
        ([decision("two50", 1.0)] * 7 + [decision("two50", None)] * 3, []),
    ],
)
def test_each_bar_can_be_missed(told: list[Decision], said: list[str]) -> None:
    found = missed(rows([*QUIET, *told]), {})
    assert len(found) == len(said), found
    for text, words in zip(found, said, strict=True):
        assert words in text


def test_ranks_are_those_of_the_quiet_machine_or_a_bar_is_missed() -> None:
    def ranked(load: str, sign: int) -> list[Decision]:
        return [decision(load, 1.0, n, kind="search", rank=float(n) ** sign) for n in RANKED]

    same, other = (ranks([*ranked("quiet", -1), *ranked("two50", sign)]) for sign in (-1, 1))
    assert (same["all"], other["all"]) == (pytest.approx(1.0), pytest.approx(-1.0))
    assert (missed([], same), len(missed([], other))) == ([], 1)


def test_load_makers_are_nobodys_children_and_end() -> None:
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    before = children.read_text()
    with under(LOADS["two50"]):
        assert children.read_text() == before
        assert any((others_running() or 0) > 0 for _ in range(1000))
