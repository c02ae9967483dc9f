"""From what a model says to a source."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernelevolve.synthesis.answers.errors import AnswerError
from kernelevolve.synthesis.answers.lines import Edit, applied
from kernelevolve.synthesis.answers.reading import read_answer
from tests.synthesis.answers.shapes import CHANGED, PARENT, SHAPES, WHOLE, Shape, block, fenced


def test_there_are_as_many_shapes_as_promised() -> None:
    assert len({shape.name for shape in SHAPES}) == len(SHAPES) >= 60


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_an_answer_means_what_it_should(shape: Shape) -> None:
    if shape.want is None:
        with pytest.raises(AnswerError) as raised:
            read_answer(shape.text, shape.parent, cut_off=shape.cut_off)
        assert shape.error in str(raised.value)
    else:
        found = read_answer(shape.text, shape.parent, cut_off=shape.cut_off)
        assert found.rstrip() == shape.want.rstrip()


@given(st.text(alphabet="`~<>=+-@ \nabSEARCHREPLACE#:()", max_size=200))
def test_whatever_a_model_says_there_is_a_source_or_a_reason(text: str) -> None:
    told = ""
    try:
        found = read_answer(text, PARENT)
    except AnswerError as error:
        told, found = str(error), PARENT
    assert told or found.rstrip() != PARENT.rstrip()


@given(st.data())
def test_an_edit_changes_those_lines_and_no_others(data: st.DataObject) -> None:
    lines = [f"line {i}" for i in range(data.draw(st.integers(1, 30)))]
    start = data.draw(st.integers(0, len(lines) - 1))
    stop = data.draw(st.integers(start + 1, len(lines)))
    new = tuple(data.draw(st.lists(st.text("xyz ", max_size=5), max_size=6)))
    found = applied([Edit(tuple(lines[start:stop]), new)], "\n".join(lines))
    assert found == "\n".join([*lines[:start], *new, *lines[stop:]])


def test_of_equal_lines_the_nearest_to_the_number_is_meant() -> None:
    source = "a\nb\nc\nb\nd"
    assert applied([Edit(("b",), ("X",), near=3)], source) == "a\nb\nc\nX\nd"
    with pytest.raises(AnswerError, match="stand 2 times"):
        applied([Edit(("b",), ("X",), near=2)], source)


def test_a_replacement_moves_with_what_it_replaces() -> None:
    source = "if a:\n        if b:\n            c\n"
    found = applied([Edit(("if b:", "    c"), ("while b:", "    d"))], source)
    assert found == "if a:\n        while b:\n            d\n"


def test_a_long_answer_is_read_in_time() -> None:
    long = fenced(WHOLE + "# x\n" * 20_000) + "word " * 50_000
    assert read_answer(long, None).startswith("import torch")
    with pytest.raises(AnswerError):
        read_answer("<" * 100_000 + "think>" * 1000, None)
    assert read_answer("text\n" * 20_000 + block("        y = x * 2.0", "        y = x * 3.0"), PARENT) == CHANGED
