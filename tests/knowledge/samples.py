"""The code of the library's documents, and how it is run: many blocks in one child process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt

from devices.languages import unfold
from devices.toolchains.cpp import find_compiler
from knowledge.documents import Document
from tests.packages import ROOT

RUNNABLE = ("python runnable", "python triton", "cpp compiles", "cpp runs")
"""The tags of blocks that are run here, `cpp compiles` as far as the compiler."""
SHOWN = ("text", "cuda", "hip", "markdown")
"""The tags of blocks that no machine without an accelerator can run, and of what is no code."""
_INCLUDE = re.compile(r"^#include <.*>$", re.MULTILINE)
_MAIN = re.compile(r"\bint main\(\)")
_RUN_FILES = """
import importlib.util, sys, traceback

for at, path in enumerate(sys.argv[1:]):
    try:
        spec = importlib.util.spec_from_file_location(f"block_{at}", path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    except BaseException:
        print(f"{path} failed:", traceback.format_exc(), sep=chr(10), file=sys.stderr)
        sys.exit(1)
    print(path)
"""


class Block(NamedTuple):
    """A fenced block of a document."""

    document: str
    line: int
    """The line of the body, counted from 1, that its code begins with."""
    tag: str
    code: str


def blocks(document: Document) -> list[Block]:
    """Return the fenced blocks of a document in order."""
    return [
        Block(document.id, token.map[0] + 2, token.info.strip(), token.content)
        for token in MarkdownIt().parse(document.body)
        if token.type == "fence" and token.map is not None
    ]


def run_python(found: list[Block], folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Execute blocks as modules, one after the other in one child process, which stops at the first that fails."""
    paths = []
    for block in found:
        path = folder / f"{block.document.replace('/', '.')}.{block.line}.py"
        path.write_text("\n" * (block.line - 1) + unfold(block.code), encoding="utf-8")
        paths.append(str(path))
    return subprocess.run(
        [sys.executable, "-c", _RUN_FILES, *paths],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "2", **environment, "PYTHONPATH": _python_path()},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )


def build_cpp(found: list[Block], folder: Path) -> subprocess.CompletedProcess[str]:
    """Compile blocks as one program, each in a namespace of its own. The program `samples` calls the `main` of each."""
    includes = {include for block in found for include in _INCLUDE.findall(block.code)}
    parts, calls = [*sorted(includes)], []
    for at, block in enumerate(found):
        code = _INCLUDE.sub("", block.code)
        parts.append(f'namespace sample_{at} {{\n#line {block.line} "{block.document}.md"\n{code}\n}}')
        if block.tag == "cpp runs":
            assert _MAIN.search(code), f"{block.document}, line {block.line}: no `int main()`"
            calls.append(f'if (sample_{at}::main() != 0) {{ std::puts("{block.document}"); return 1; }}')
    parts.append("#include <cstdio>\nint main() {\n" + "\n".join(calls) + "\nreturn 0; }\n")
    source = folder / "samples.cpp"
    source.write_text("\n".join(parts), encoding="utf-8")
    flags = ["-std=c++17", "-O2", "-fopenmp", "-Wno-psabi"]
    return subprocess.run(
        [find_compiler(), *flags, str(source), "-o", str(folder / "samples")],
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )


def _python_path() -> str:
    return os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
