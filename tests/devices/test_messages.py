"""What is left of compilers' messages; the compilers are real."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from devices.base import CompileFailure
from devices.toolchains.messages import cut_messages
from devices.toolchains.python import PythonToolchain
from kernelevolve.core.kernel import Kernel
from tests.devices import here


def compiled(source: str, folder: Path, flags: tuple[str, ...] = ("-O2",)) -> CompileFailure:
    text = f"CPP_SOURCE = {source!r}\nCPP_FLAGS = {list(flags)!r}\n"
    verdict = here.compiled(Kernel(source=text, language="cpp"), folder)
    assert isinstance(verdict, CompileFailure)
    lines = verdict.details.split("\n")
    assert 0 < len(lines) <= 40
    assert max(map(len, lines)) <= 200
    assert "/usr/" not in verdict.details
    assert str(folder) not in verdict.details
    assert "\n" not in verdict.summary
    return verdict


def caret(verdict: CompileFailure, line: int) -> str:
    """What stands above the caret of the first message about a line."""
    lines = verdict.details.split("\n")
    at = next(i for i, text in enumerate(lines) if text.strip().startswith(f"{line} |"))
    return lines[at][lines[at + 1].index("^") :]


def test_an_error_has_its_line_and_a_caret(tmp_path: Path) -> None:
    verdict = compiled('extern "C" void run() {\n    int x = missing_name;\n}\n', tmp_path)
    assert verdict.summary == "kernel.cpp:2:13: error: 'missing_name' was not declared in this scope"
    assert verdict.details.startswith(verdict.summary)
    assert caret(verdict, 2).startswith("missing_name")


def test_errors_come_in_order_without_warnings(tmp_path: Path) -> None:
    source = "int f() { int unused; }\nint a = one;\nint b = two;\n"
    verdict = compiled(source, tmp_path, ("-Wall",))
    assert verdict.details.index("'one'") < verdict.details.index("'two'")
    assert "warning" not in verdict.details


def test_a_missing_semicolon_shows_the_line_above(tmp_path: Path) -> None:
    verdict = compiled("int f() {\n    int x = 1\n    return x;\n}\n", tmp_path)
    assert "expected ',' or ';' before 'return'" in verdict.summary
    assert "int x = 1" in verdict.details


def test_errors_in_headers_name_the_line_that_caused_them(tmp_path: Path) -> None:
    source = """#include <algorithm>
#include <vector>
struct S { int a; };
void run() {
    std::vector<S> v(3);
    std::sort(v.begin(), v.end());
    std::vector<S> w(3);
    w = 3;
}
"""
    verdict = compiled(source, tmp_path)
    assert "no match for 'operator<' (operand types are 'S' and 'S')" in verdict.details
    assert "required from kernel.cpp:6\n    6 |     std::sort(v.begin(), v.end());" in verdict.details
    assert "kernel.cpp:8" in verdict.details
    assert verdict.details.count("operator<'") == 1, "one error for one line, however many places in the header"
    assert "template argument deduction" not in verdict.details


def test_errors_in_templates_of_the_kernel_show_the_call_too(tmp_path: Path) -> None:
    source = "template <class T> T add(T a) { return a.nothing(); }\nint f() {\n    return add(1);\n}\n"
    verdict = compiled(source, tmp_path)
    assert "request for member 'nothing'" in verdict.summary
    assert caret(verdict, 1).startswith("nothing")
    assert "required from kernel.cpp:3\n    3 |     return add(1);" in verdict.details


def test_notes_about_the_kernels_own_lines_are_kept(tmp_path: Path) -> None:
    verdict = compiled("void f(int, int);\nvoid g() { f(1); }\n", tmp_path)
    assert "too few arguments" in verdict.summary
    assert "kernel.cpp:1:6: note: declared here" in verdict.details


def test_what_the_linker_misses_is_found_in_the_source(tmp_path: Path) -> None:
    source = (
        'int missing(int);\nint twice(int x);\nextern "C" int run(int x) { return missing(x) + missing(twice(x)); }\n'
    )
    commands = [["g++", "-c", "-fPIC", "kernel.cpp"], ["g++", "-shared", "-Wl,-z,defs", "kernel.o"]]
    (tmp_path / "kernel.cpp").write_text(source)
    subprocess.run(commands[0], cwd=tmp_path, check=True)
    done = subprocess.run(
        commands[1], cwd=tmp_path, check=False, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"}
    )
    summary, details = cut_messages(done.stderr, source, "kernel.cpp")
    assert summary == "undefined reference to `missing(int)'"
    assert details.split("\n") == [
        "undefined reference to `missing(int)'",
        "    1 | int missing(int);",
        "undefined reference to `twice(int)'",
        "    2 | int twice(int x);",
    ]


def test_errors_of_the_assembler(tmp_path: Path) -> None:
    verdict = compiled('void run() {\n    asm("bogus %eax, 1");\n}\n', tmp_path)
    assert verdict.summary == "kernel.cpp:2: error: no such instruction: `bogus %eax,1'"
    assert '2 |     asm("bogus %eax, 1");' in verdict.details


def test_a_fatal_error_and_a_directive(tmp_path: Path) -> None:
    assert "no_such_header.h: No such file" in compiled("#include <no_such_header.h>\n", tmp_path).summary
    assert "#error out of luck" in compiled("#error out of luck\n", tmp_path).summary


def test_long_lines_are_cut_around_the_caret(tmp_path: Path) -> None:
    source = f"int x = {' + '.join(['1'] * 200)} + missing_name + {' + '.join(['1'] * 200)};\n"
    verdict = compiled(source, tmp_path)
    assert caret(verdict, 1).startswith("missing_name")


def test_long_types_are_shortened(tmp_path: Path) -> None:
    source = "#include <map>\n#include <string>\nstd::map<std::string, int> m;\nvoid f() { m.nothing(); }\n"
    verdict = compiled(source, tmp_path)
    assert "has no member named 'nothing'" in verdict.summary
    assert "allocator" not in verdict.summary
    assert "basic_string" not in verdict.summary


def test_no_more_than_forty_lines(tmp_path: Path) -> None:
    functions = "".join(f"void f{i}(int, int);\nvoid g{i}() {{ f{i}(1); f{i}(); }}\n" for i in range(40))
    verdict = compiled(functions, tmp_path)
    assert "75 more errors" in verdict.details


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="no nvcc")
def test_messages_of_nvcc(tmp_path: Path) -> None:
    source = "__global__ void k(float* x) {\n    int y = missing(x);\n    x[0] = 1;\n}\nint z = other;\n"
    (tmp_path / "kernel.cu").write_text(source)
    done = subprocess.run(["nvcc", "-c", "kernel.cu"], cwd=tmp_path, check=False, capture_output=True, text=True)
    summary, details = cut_messages(done.stdout + done.stderr, source, "kernel.cu")
    assert summary == 'kernel.cu:2: error: identifier "missing" is undefined'
    first, line, caret_line, second = details.split("\n")[:4]
    assert first == summary
    assert line[caret_line.index("^") :].startswith("missing")
    assert second == 'kernel.cu:5: error: identifier "other" is undefined'


@pytest.mark.skipif(shutil.which("clang++") is None, reason="no clang")
def test_messages_of_clang(tmp_path: Path) -> None:
    source = "int f() {\n    return missing;\n}\n"
    (tmp_path / "kernel.cpp").write_text(source)
    done = subprocess.run(["clang++", "-c", "kernel.cpp"], cwd=tmp_path, check=False, capture_output=True, text=True)
    summary, details = cut_messages(done.stderr, source, "kernel.cpp")
    assert summary == "kernel.cpp:2:12: error: use of undeclared identifier 'missing'"
    line, caret_line = details.split("\n")[1:3]
    assert line[caret_line.index("^") :].startswith("missing")


def test_what_is_no_message_gives_nothing() -> None:
    assert cut_messages("", "", "kernel.cpp") == ("", "")
    assert cut_messages("make: nothing to be done\n", "int a;\n", "kernel.cpp") == ("", "")
    assert cut_messages("cc1plus: out of memory allocating 65536 bytes\n", "", "kernel.cpp")[0].startswith(
        "out of memory"
    )


def test_python_shows_its_line_and_a_caret(tmp_path: Path) -> None:
    verdict = here.compiled(Kernel(source="x = 1\ndef f(:\n", language="python"), tmp_path, toolchain=PythonToolchain())
    assert isinstance(verdict, CompileFailure)
    assert "invalid syntax (kernel.py, line 2)" in verdict.summary
    line, caret_line = verdict.details.split("\n")[1:3]
    assert line[caret_line.index("^")] == ":"
