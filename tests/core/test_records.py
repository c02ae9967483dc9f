from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from kernelevolve.core.evaluation import Evaluation, Measurement, Ratio, Status
from kernelevolve.core.graph import Expansion, Node, Phase
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.record import content_id
from kernelevolve.core.seeds import derive_seed
from kernelevolve.core.task import AllowAten, Task, Tolerance
from tests.conformance.records import make_entry, make_evaluation, make_kernel

RATIO = Ratio(value=1.0, low=1.0, high=1.0)

POSITIVE = st.floats(1e-6, 1e6)


@given(st.lists(st.text()), st.lists(st.text()))
def test_content_ids_tell_lists_of_texts_apart(first: list[str], second: list[str]) -> None:
    assert (content_id(*first) == content_id(*second)) == (first == second)


@given(st.text(), st.text(min_size=1), st.dictionaries(st.text(), st.integers()))
def test_knobs_do_not_count_for_a_kernels_identity(source: str, language: str, knobs: dict[str, int]) -> None:
    kernel = Kernel(source=source, language=language, knobs=knobs)
    assert kernel.id == Kernel(source=source, language=language).id
    assert kernel.id != Kernel(source=source + " ", language=language).id
    assert Kernel.model_validate_json(kernel.model_dump_json()) == kernel


def test_the_name_of_a_task_does_not_count_but_its_tolerance_does() -> None:
    task = Task(name="a", source="x")
    assert task.id == Task(name="b", source="x").id
    assert task.id != Task(name="a", source="x", tolerance=Tolerance(atol=1e-3)).id
    assert task.id != Task(name="a", source="x", seed=1).id


def test_a_tasks_rule_counts_for_its_identity_where_it_is_not_the_default() -> None:
    ids = [Task(name="a", source="x", allow_aten=rule).id for rule in AllowAten]
    assert len(set(ids)) == 3
    task = Task(name="a", source="x")
    assert task.id == ids[2] == content_id("x", task.tolerance.model_dump_json(), "0")


@given(POSITIVE, POSITIVE, POSITIVE)
def test_a_ratio_lies_in_its_interval(low: float, value: float, high: float) -> None:
    if low <= value <= high:
        assert Ratio(value=value, low=low, high=high).value == value
    else:
        with pytest.raises(ValidationError):
            Ratio(value=value, low=low, high=high)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_a_ratio_is_positive_and_finite(value: float) -> None:
    with pytest.raises(ValidationError):
        Ratio(value=value, low=value, high=value)


@given(st.sampled_from(Status), st.booleans(), st.booleans())
def test_only_ok_has_a_measurement_and_only_failures_a_diagnosis(status: Status, timed: bool, told: bool) -> None:
    good, bad = make_evaluation(make_kernel(0), 2.0), make_evaluation(make_kernel(0), 0.0)
    values: dict[str, Any] = {
        "kernel_id": "k",
        "task_id": "t",
        "device": "cpu",
        "status": status,
        "measurement": good.measurement if timed else None,
        "diagnosis": bad.diagnosis if told else None,
    }
    if timed == (status is Status.OK) and told != (status is Status.OK):
        assert Evaluation(**values).fitness == (2.0 if timed else 0.0)
    else:
        with pytest.raises(ValidationError):
            Evaluation(**values)


@given(st.integers(0, 10**6), st.one_of(st.just(0.0), POSITIVE), st.booleans())
def test_a_node_survives_json(step: int, fitness: float, cached: bool) -> None:
    node, _ = make_entry(step, fitness, cached=cached)
    assert Node.model_validate_json(node.model_dump_json()) == node
    assert node.fitness == fitness


def test_a_node_with_the_evaluation_of_another_kernel_cannot_be_built() -> None:
    node, _ = make_entry(0)
    with pytest.raises(ValidationError, match="another kernel"):
        Node.model_validate(dict(node) | {"kernel_id": "0" * 16})


@pytest.mark.parametrize(
    ("phase", "parents"), [(Phase.DRAFT, ("a",)), (Phase.EXPAND, ()), (Phase.EXPAND, ("a", "b", "a"))]
)
def test_expansions_that_make_no_sense_cannot_be_built(phase: Phase, parents: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError):
        Expansion(step=0, phase=phase, parents=parents, seed=0)


def test_records_are_frozen_and_know_their_fields() -> None:
    kernel = make_kernel(0)
    with pytest.raises(ValidationError):
        kernel.source = "other"
    with pytest.raises(ValidationError):
        Kernel(source="", language="cpp", knob={})  # type: ignore[call-arg]
    with pytest.raises(ValidationError):
        Measurement(speedup=Ratio(value=1, low=1, high=1), reference_seconds=0, kernel_seconds=1, rounds=1)


@pytest.mark.parametrize(
    ("speedup", "not_measured", "rough"),
    [
        (RATIO, "why", 1.0),
        (RATIO, "", 1.0),
        (RATIO, "why", None),
        (None, "", 1.0),
        (None, "why", None),
        (None, "", None),
    ],
)
def test_a_measurement_has_a_speedup_or_a_reason(speedup: Ratio | None, not_measured: str, rough: float | None) -> None:
    with pytest.raises(ValidationError):
        Measurement(
            speedup=speedup,
            not_measured=not_measured,
            rough_speedup=rough,
            reference_seconds=1,
            kernel_seconds=1,
            rounds=1,
        )


@given(st.integers(), st.lists(st.one_of(st.integers(), st.text())))
def test_seeds_are_63_bits_and_follow_from_their_name(seed: int, names: list[int | str]) -> None:
    derived = derive_seed(seed, *names)
    assert 0 <= derived < 2**63
    assert derived == derive_seed(seed, *names)
    assert derived != derive_seed(seed, *names, "more")
    assert derived != derive_seed(seed + 1, *names)
