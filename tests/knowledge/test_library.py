from __future__ import annotations

import importlib.util
import platform
import posixpath
import subprocess
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from kernelevolve.core.errors import UserError
from kernelevolve.core.evaluation import Status
from knowledge.documents import Document, load_library, parse_document, read_document, read_folder
from knowledge.vocabulary import Kind, Phase
from tests.knowledge.samples import RUNNABLE, SHOWN, Block, blocks, build_cpp, run_python

FRONT = """---
platform: cpu
kind: guidance
phase: seed
level: basic
bottleneck: memory
operators: [softmax]
sources: ["A book: https://example.org"]
---
"""
LEAST_WORDS = 200


@pytest.fixture(scope="module")
def library() -> tuple[Document, ...]:
    return load_library()


@pytest.fixture(scope="module")
def code(library: tuple[Document, ...]) -> list[Block]:
    return [block for document in library for block in blocks(document)]


def links(document: Document) -> list[str]:
    inline = [token.children or [] for token in MarkdownIt().parse(document.body)]
    return [str(part.attrGet("href")) for parts in inline for part in parts if part.type == "link_open"]


def linked_documents(document: Document) -> set[str]:
    """Return the ids that a document's links lead to."""
    local = [link.partition("#")[0] for link in links(document) if not link.startswith("https://")]
    folder = posixpath.dirname(document.id)
    return {posixpath.normpath(posixpath.join(folder, link)).removesuffix(".md") for link in local}


def words(document: Document) -> int:
    """Return the number of words outside of code blocks."""
    return sum(len(token.content.split()) for token in MarkdownIt().parse(document.body) if token.type == "inline")


def test_links_lead_to_documents_and_the_index_lists_all(library: tuple[Document, ...]) -> None:
    ids = {document.id for document in library}
    broken = {(d.id, link) for d in library for link in linked_documents(d) if link not in ids}
    assert not broken
    (index,) = [document for document in library if document.kind is Kind.INDEX]
    assert linked_documents(index) == ids - {index.id}
    missing = {d.id for d in library if d is not index and f"[{d.title}]({d.id}.md)" not in index.body}
    assert not missing


def test_documents_have_substance_and_say_where_it_can_be_checked(library: tuple[Document, ...]) -> None:
    assert {d.id: words(d) for d in library if words(d) < LEAST_WORDS} == {}
    assert {d.id for d in library if not any("https://" in source or "/" in source for source in d.sources)} == set()
    titles = [document.title for document in library]
    assert len(titles) == len(set(titles))


def test_each_way_to_fail_has_a_guide(library: tuple[Document, ...]) -> None:
    guides = {d.id for d in library if d.kind is Kind.DEBUGGING and d.phase is Phase.REPAIR}
    assert {f"guidance/debugging/{status.value}" for status in Status if status is not Status.OK} <= guides


def test_every_block_of_code_says_whether_it_runs(code: list[Block]) -> None:
    assert [block for block in code if block.tag not in (*RUNNABLE, *SHOWN)] == []


def test_python_of_the_documents_runs(code: list[Block], tmp_path: Path) -> None:
    done = run_python([block for block in code if block.tag == "python runnable"], tmp_path, {})
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
def test_triton_of_the_documents_runs_in_the_interpreter(code: list[Block], tmp_path: Path) -> None:
    found = [block for block in code if block.tag == "python triton"]
    done = run_python(found, tmp_path, {"TRITON_INTERPRET": "1"})
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(platform.machine() != "x86_64", reason="some blocks use the instructions of x86-64")
def test_cpp_of_the_documents_compiles_and_runs(code: list[Block], tmp_path: Path) -> None:
    built = build_cpp([block for block in code if block.tag.startswith("cpp")], tmp_path)
    assert built.returncode == 0, built.stderr
    done = subprocess.run([tmp_path / "samples"], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_document_is_read_as_it_declares_itself(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "page.md").write_bytes(b"\xef\xbb\xbf" + (FRONT + "\n# A page #\n\nText.\n").encode())
    (document,) = read_folder(tmp_path)
    assert (document.id, document.title, document.platform) == ("deep/page", "A page", "cpu")
    assert (document.operators, document.languages) == (("softmax",), ("any",))
    assert document.body == "# A page #\n\nText.\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("# Title\n", "p has no front matter: begin it with a line '---', platform, kind, phase,"),
        ("", "p has no front matter"),
        ("---\nplatform: cpu\n", "p: the front matter does not end: close it with a line '---'"),
        ("---\nplatform: [cpu\n---\n# T\n", "p, line 2: the front matter is no YAML"),
        ("---\n- platform\n---\n# T\n", "p: the front matter is no list of fields"),
        (FRONT.replace("phase: seed", "phase: late") + "# T\n", "p: phase is 'late': it is one of any, seed, explore,"),
        (FRONT.replace("kind:", "knid:") + "# T\n", "p: the front matter lacks 'kind': it is one of index, policy,"),
        (FRONT.replace("level", "lvel: 1\nlevel") + "# T\n", "p: unknown field 'lvel': did you mean 'level'?"),
        (FRONT.replace("[softmax]", "softmax") + "# T\n", "p: operators is 'softmax': write a list, such as [softmax]"),
        (FRONT.replace("[softmax]", "[soft]") + "# T\n", "p: operators is 'soft': it is one of any, elementwise,"),
        (FRONT.replace('["A book: https://example.org"]', "[]") + "# T\n", "p: sources is empty: name what"),
        (FRONT + "Text without a title.\n", "p: the body has no title: begin it with a line '# Title'"),
    ],
)
def test_a_mistake_in_a_document_is_said_in_one_line(text: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_document(text, "p")
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


def test_a_document_in_another_encoding_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_bytes((FRONT + "# Größe\n").encode("latin-1"))
    with pytest.raises(UserError, match=r"page\.md is not UTF-8 \(byte \d+\): save it as UTF-8"):
        read_document(path, tmp_path)
