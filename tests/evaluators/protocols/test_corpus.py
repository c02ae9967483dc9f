"""Cheats of the corpus are caught, honest kernels are not rejected.

One of each class here; `python -m scripts.bench.corpus` judges all of them, ten times over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from evaluators.service.pipeline import Pipeline
from kernelevolve.core.evaluation import Status
from tests.evaluators.protocols.corpus.judging import open_judge
from tests.evaluators.protocols.corpus.reading import FOLDER, Entry, read_corpus

pytestmark = [pytest.mark.thorough, pytest.mark.alone]

CORPUS = read_corpus()
CHEATS = [entry for entry in CORPUS if entry.group == "cheats"]
HONEST = [entry for entry in CORPUS if entry.group == "honest"]
SAMPLE = list({(entry.group, entry.kind): entry for entry in sorted(CORPUS, key=lambda e: e.kernel.id)}.values())
SAMPLE.sort(key=lambda entry: (entry.task_name, entry.rule or "", entry.id))


@pytest.fixture(scope="module")
def judge(request: pytest.FixtureRequest) -> Iterator[Pipeline]:
    """One pipeline at a time: the entries come task by task."""
    made = open_judge(request.param)
    made.warm()
    yield made
    made.close()


@pytest.mark.parametrize(
    ("judge", "entry"),
    [pytest.param(entry.task, entry, id=entry.id) for entry in SAMPLE],
    indirect=["judge"],
)
def test_the_verdict_is_right(judge: Pipeline, entry: Entry) -> None:
    complaint = entry.complaint(judge.evaluate(entry.kernel))
    assert not complaint, f"{entry.summary} {complaint}"


def test_the_corpus_is_large_enough() -> None:
    assert len(CHEATS) >= 75
    assert len({entry.kind for entry in CHEATS}) >= 18
    assert len(HONEST) >= 75
    assert len([entry for entry in CORPUS if entry.language == "cpp"]) >= 25
    assert {entry.group for entry in CORPUS if entry.language == "cpp"} == {"cheats", "honest"}


def test_each_entry_says_what_it_does() -> None:
    for entry in CORPUS:
        assert entry.summary, entry.id
        assert "\n" not in entry.summary, entry.id
        assert entry.summary.endswith("."), entry.id


def test_each_entry_is_another_one() -> None:
    for what in ("id", "summary"):
        names = Counter(getattr(entry, what) for entry in CORPUS)
        assert [name for name, count in names.items() if count > 1] == []
    kernels = Counter((entry.kernel.id, entry.rule) for entry in CORPUS)
    assert max(kernels.values()) == 1


def test_honest_kernels_are_expected_to_pass_and_cheats_are_not() -> None:
    assert all(entry.expected == {Status.OK} and not entry.pointless for entry in HONEST)
    assert all((Status.OK in entry.expected) == entry.pointless for entry in CHEATS)


def test_every_task_is_used_by_both() -> None:
    tasks = {path.stem for path in (FOLDER / "tasks").glob("*.py")}
    for group in (CHEATS, HONEST):
        assert {entry.task_name for entry in group} == tasks
