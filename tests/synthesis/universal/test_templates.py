"""Prompts that a user replaces, and mistakes in them."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import pytest

from kernelevolve.core.errors import UserError
from kernelevolve.synthesis.universal.prompt import Material, PromptBuilder, PromptKind
from kernelevolve.synthesis.universal.templates import REQUEST, SYSTEM, Templates
from tests.synthesis.universal.conftest import FACTS, HARDWARE, TASK, context, operator


def test_a_users_template_takes_the_place_of_one(tmp_path: Path) -> None:
    (tmp_path / REQUEST).write_text("Do it: {{ move }}{% for p in parents %}, {{ p.outcome }}{% endfor %}")
    builder = PromptBuilder(Templates(str(tmp_path)), TASK, FACTS, "cpu", HARDWARE, "cpp", "whole")
    head, request = builder.build(Material(PromptKind.DRAFT), 9000)
    assert request.text == "Do it: draft\n"
    assert "The operator" in head.text


def test_a_part_of_one_may_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "language_cpp.md.j2").write_text("Write it in C++ on {{ device }}.")
    builder = PromptBuilder(Templates(str(tmp_path)), TASK, FACTS, "cpu", HARDWARE, "cpp", "whole")
    assert "Write it in C++ on cpu." in builder.head.text


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        (SYSTEM, "{{ tasks.source }}", r"there is no variable tasks; there are device, facts, form"),
        (REQUEST, "{% for x in parents %}", "line 1"),
        ("sytem.md.j2", "hello", r"sytem\.md\.j2 is none of the templates agent"),
    ],
)
def test_mistakes_are_told_when_the_operator_is_built(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=said):
        operator(templates=str(tmp_path))


def test_folders_that_hold_no_template_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no file is none of the templates"):
        operator(templates=str(tmp_path))
    with pytest.raises(UserError, match="there is no such folder"):
        operator(templates=str(tmp_path / "nowhere"))


def test_what_a_variable_does_not_have_is_told(tmp_path: Path) -> None:
    (tmp_path / SYSTEM).write_text("{{ task.sauce }}")
    with pytest.raises(UserError, match="has no attribute 'sauce'"):
        PromptBuilder(Templates(str(tmp_path)), TASK, FACTS, "cpu", HARDWARE, "cpp", "whole")


def test_a_template_reaches_nothing_but_its_variables(tmp_path: Path) -> None:
    (tmp_path / SYSTEM).write_text("{{ task.__class__.__mro__[-1].__subclasses__() }}")
    with pytest.raises(UserError):
        PromptBuilder(Templates(str(tmp_path)), TASK, FACTS, "cpu", HARDWARE, "cpp", "whole")


def test_templates_travel_to_machines_that_lack_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / REQUEST).write_text("Do it: {{ move }}")
    travelled = pickle.dumps(operator(templates=str(folder)))
    shutil.rmtree(folder)
    messages = pickle.loads(travelled).prompts(context()).build(Material(PromptKind.DRAFT), 9000)
    assert messages[1].text == "Do it: draft\n"
