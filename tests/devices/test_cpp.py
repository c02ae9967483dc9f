from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.base import Artifact, CompileFailure, Toolchain
from devices.toolchains.cpp import LOADER, CppToolchain
from devices.toolchains.literals import LiteralError, read_literals
from devices.toolchains.python import PythonToolchain
from devices.toolchains.screen import refused_flag, refused_source
from kernelevolve.core.errors import UserError
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.target import Target
from tests.conformance.toolchain import ToolchainConformance, files_of, run_kernel
from tests.devices.here import compiled, this_machine

DOUBLE = """#include <cmath>
extern "C" void run(const float* x, float* y, long n) {
    #pragma omp parallel for
    for (long i = 0; i < n; ++i) y[i] = 2.0f * x[i];
}
"""
# A compiler needs time and memory that double with each level.
BOMB = """template <long N, long M> struct Tree {
    static constexpr long value = Tree<N - 1, 2 * M>::value + Tree<N - 1, 2 * M + 1>::value;
};
template <long M> struct Tree<0, M> { static constexpr long value = M; };
long total = Tree<40, 0>::value;
"""


def cpp_kernel(source: str, flags: tuple[str, ...] = ("-O2", "-march=native")) -> Kernel:
    text = f"CPP_SOURCE = {source!r}\nCPP_FLAGS = {list(flags)!r}\n\n{LOADER}\n\n"
    text += """
import torch


class ModelNew(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.library = load_library(CPP_SOURCE, CPP_FLAGS)

    def forward(self, x):
        y = torch.empty_like(x)
        self.library.run(ctypes.c_void_p(x.data_ptr()), ctypes.c_void_p(y.data_ptr()), ctypes.c_long(x.numel()))
        return y
"""
    return Kernel(source=text, language="cpp")


def failure(kernel: Kernel, folder: Path, timeout: float = 60) -> CompileFailure:
    verdict = compiled(kernel, folder, timeout)
    assert isinstance(verdict, CompileFailure)
    return verdict


class TestCpp(ToolchainConformance):
    def toolchain(self) -> Toolchain:
        return CppToolchain()

    def target(self) -> Target:
        return this_machine()

    def doubling(self) -> Kernel:
        return cpp_kernel(DOUBLE)

    def broken(self) -> Kernel:
        return cpp_kernel("int run( {")


class TestPython(ToolchainConformance):
    def toolchain(self) -> Toolchain:
        return PythonToolchain()

    def target(self) -> Target:
        return this_machine()

    def doubling(self) -> Kernel:
        text = "import torch\nclass ModelNew(torch.nn.Module):\n    def forward(self, x):\n        return x + x\n"
        return Kernel(source=text, language="python")

    def broken(self) -> Kernel:
        return Kernel(source="def forward(:\n", language="python")


def test_the_loader_uses_what_the_toolchain_built(tmp_path: Path) -> None:
    artifact = compiled(cpp_kernel(DOUBLE), tmp_path / "build", 60)
    assert isinstance(artifact, Artifact)
    no_compiler_runs = tmp_path / "cxx"
    no_compiler_runs.write_text("#!/bin/sh\nexit 1\n")
    no_compiler_runs.chmod(0o755)
    environment = {**artifact.environment, "CXX": str(no_compiler_runs)}
    done = run_kernel(cpp_kernel(DOUBLE), tmp_path, environment)
    assert done.stdout.strip() == "16.0", done.stderr
    assert not (tmp_path / ".cache").exists()


def test_the_loader_stands_alone_and_compiles_once(tmp_path: Path) -> None:
    first = run_kernel(cpp_kernel(DOUBLE), tmp_path, {})
    assert first.stdout.strip() == "16.0", first.stderr
    cache = tmp_path / ".cache" / "kernelevolve"
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    built = files_of(cache)
    assert len(built) == 1
    assert run_kernel(cpp_kernel(DOUBLE), tmp_path, {}).stdout.strip() == "16.0"
    assert files_of(cache) == built
    artifact = compiled(cpp_kernel(DOUBLE), tmp_path / "build", 60)
    assert isinstance(artifact, Artifact)
    assert set(artifact.files) == set(built)


def test_the_loader_refuses_a_cache_that_others_can_write(tmp_path: Path) -> None:
    cache = tmp_path / ".cache" / "kernelevolve"
    cache.mkdir(parents=True)
    cache.chmod(0o777)
    assert "PermissionError" in run_kernel(cpp_kernel(DOUBLE), tmp_path, {}).stderr


def test_source_and_flags_decide_the_library(tmp_path: Path) -> None:
    kernels = [cpp_kernel(DOUBLE), cpp_kernel(DOUBLE + "\n"), cpp_kernel(DOUBLE, ("-O1",))]
    artifacts = [compiled(kernel, tmp_path, 60) for kernel in kernels]
    assert len({artifact.files for artifact in artifacts if isinstance(artifact, Artifact)}) == len(kernels)


def test_compiling_never_runs_the_file(tmp_path: Path) -> None:
    text = f"open({str(tmp_path / 'ran')!r}, 'w')\n" + cpp_kernel(DOUBLE).source
    assert isinstance(compiled(Kernel(source=text, language="cpp"), tmp_path / "b", 60), Artifact)
    assert not (tmp_path / "ran").exists()


def test_an_error_shows_its_line(tmp_path: Path) -> None:
    verdict = failure(cpp_kernel('extern "C" void run() {\n    int x = missing_name;\n}\n'), tmp_path)
    assert "missing_name" in verdict.summary
    assert "2 |     int x = missing_name;" in verdict.details


def test_many_errors_are_cut(tmp_path: Path) -> None:
    verdict = failure(cpp_kernel("".join(f"int a{i} = missing_{i};\n" for i in range(30))), tmp_path)
    assert "missing_4" in verdict.details
    assert "missing_5" not in verdict.details
    assert "25 more" in verdict.details


def test_a_kernel_cannot_pass_for_a_full_disk(tmp_path: Path) -> None:
    assert "No space left" in failure(cpp_kernel("#error No space left on device"), tmp_path).summary


def test_a_compiler_that_wants_too_much_memory_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("devices.toolchains.cpp._MEMORY_BYTES", 64 << 20)
    assert failure(cpp_kernel("#include <algorithm>\n#include <regex>\n"), tmp_path).summary
    assert list(tmp_path.iterdir()) == []


def test_a_template_bomb_ends_in_time_and_leaves_no_process(tmp_path: Path) -> None:
    start = time.monotonic()
    verdict = failure(cpp_kernel(BOMB), tmp_path, timeout=1.0)
    assert time.monotonic() - start < 10
    assert "longer than 1 s" in verdict.summary
    assert list(tmp_path.iterdir()) == []
    time.sleep(0.2)
    assert not [child for child in psutil.process_iter(["cwd"]) if str(tmp_path) in (child.info["cwd"] or "")]


def test_without_a_compiler_the_user_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(UserError, match=r"apt install g\+\+"):
        compiled(cpp_kernel(DOUBLE), tmp_path, 60)
    assert not CppToolchain().capability().available


ALLOWED = [
    "-O3",
    "-Ofast",
    "-march=native",
    "-march=x86-64-v3",
    "-mtune=znver4",
    "-mprefer-vector-width=512",
    "-mavx2",
    "-mavx512f",
    "-mfma",
    "-ffast-math",
    "-fno-math-errno",
    "-funroll-loops",
    "-fno-trapping-math",
    "-ftree-vectorize",
    "-fopenmp",
    "-std=c++20",
    "-DTILE=64",
    "-UNDEBUG",
    "-Wall",
    "-Wno-unused",
    "-g",
    "-lm",
    "-lmvec",
    "-lgomp",
    "-fopenmp-simd",
    "-ffp-contract=fast",
    "-fno-semantic-interposition",
]
REFUSED = [
    "-fplugin=x.so",
    "-wrapper",
    "-B/tmp",
    "-B",
    "@flags",
    "-specs=x",
    "-include",
    "-o",
    "-oout",
    "-I/tmp",
    "-L/tmp",
    "-x",
    "-fdump-tree-all",
    "-save-temps",
    "--sysroot=/tmp",
    "/etc/passwd",
    "kernel.cpp",
    "-Wl,-T,x",
    "-Wa,x",
    "-Wp,-MD,x",
    "-lfoo",
    "-MD",
    "-MF",
    "-imacros",
    "-isystem",
    "-Xlinker",
    "-pipe",
    "-E",
    "-S",
    "-c",
    "-fprofile-generate",
    "-fprofile-use=x",
    "-fauto-profile=x",
    "-frandom-seed=x",
    "-gsplit-dwarf",
    "-iquote",
    "-nostdlib",
    "-static",
    "-fuse-ld=gold",
    "-flto",
    "-foffload=x",
    "-fopt-info-all=x",
    "-fstack-usage",
    "-fcallgraph-info",
    "-ftest-coverage",
    "-coverage",
    "-T",
]


@pytest.mark.parametrize("flag", ALLOWED)
def test_flags_that_optimise_pass(flag: str) -> None:
    assert refused_flag(flag) is None


@pytest.mark.parametrize("flag", ["", "-O2\n", "-DX=1\n#include", *REFUSED])
def test_flags_that_reach_out_are_refused(flag: str) -> None:
    assert "not allowed" in (refused_flag(flag) or "")


def test_a_refused_flag_is_a_verdict_and_nothing_runs(tmp_path: Path) -> None:
    verdict = failure(cpp_kernel(DOUBLE, ("-O2", f"-fdump-tree-all={tmp_path}/x")), tmp_path / "build")
    assert "-fdump-tree-all" in verdict.summary
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "source",
    [
        '#include "/etc/passwd"',
        '#include "other.h"',
        "#include </etc/passwd>",
        "#include <../../etc/passwd>",
        "#include <sys/../../../etc/passwd>",
        '  #  include "x"',
        '#/* */include "x"',
        '/* */ #include "x"',
        '#inc\\\nlude "x"',
        '%:include "x"',
        '#define X "x"\n#include X',
        "#include_next <cmath>",
        'asm(".incbin \\"/etc/passwd\\"");',
        'asm(".inc" "bin x");',
        'const char* a = R"(/*)";\n#include "x"\nconst char* b = R"(*/)";',
    ],
)
def test_sources_that_read_files_are_refused(source: str) -> None:
    assert refused_source(f"int a;\n{source}\nint b;\n") is not None


@pytest.mark.parametrize(
    "source",
    [
        "#include <immintrin.h>  // vectors\n#include <sys/types.h>\n#include <c++config.h> /* x */",
        'asm volatile("" ::: "memory");',
        'const char* text = "see #include";  // not an #include "x"',
    ],
)
def test_honest_sources_pass(source: str) -> None:
    assert refused_source(source) is None


@given(st.text(), st.lists(st.text()))
def test_literals_are_read_as_python_reads_them(source: str, flags: list[str]) -> None:
    text = f"CPP_SOURCE = {source!r}\nCPP_FLAGS = {flags!r}\n"
    if "\0" in source + "".join(flags):
        with pytest.raises(LiteralError):
            read_literals(text)
    else:
        assert read_literals(text) == (source, flags)


def test_concatenated_literals_are_read() -> None:
    assert read_literals('CPP_SOURCE = ("a" r"\\n" + "b")\nCPP_FLAGS: list[str] = ["-O2"] + ["-g"]\n') == (
        "a\\nb",
        ["-O2", "-g"],
    )


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("CPP_FLAGS = []", "CPP_SOURCE"),
        ("CPP_SOURCE = ''", "CPP_FLAGS"),
        ("CPP_SOURCE = open('x').read()\nCPP_FLAGS = []", "CPP_SOURCE"),
        ("CPP_SOURCE = 'a'\nCPP_SOURCE += 'b'\nCPP_FLAGS = []", "CPP_SOURCE"),
        ("CPP_SOURCE = 'a'\nCPP_FLAGS = '-O2'", "CPP_FLAGS"),
        ("CPP_SOURCE = 'a'\nCPP_FLAGS = ['-O2', 3]", "CPP_FLAGS"),
        ("def f(): CPP_SOURCE = 'a'\nCPP_FLAGS = []", "CPP_SOURCE"),
        ("CPP_SOURCE = (", "no valid Python"),
    ],
)
def test_files_without_the_literals_are_a_verdict(tmp_path: Path, text: str, named: str) -> None:
    assert named in failure(Kernel(source=text, language="cpp"), tmp_path).summary


def test_the_fingerprint_follows_the_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = CppToolchain().fingerprint(this_machine())
    other = tmp_path / "cxx"
    other.write_text("#!/bin/sh\necho other compiler 1.0\n")
    other.chmod(0o755)
    monkeypatch.setenv("CXX", str(other))
    assert CppToolchain().fingerprint(this_machine()) != before
    assert CppToolchain().capability().detail == "other compiler 1.0"


def test_fast_math_leaves_the_process_its_denormals(tmp_path: Path) -> None:
    code = """
import torch
tiny = torch.tensor([1e-40])
namespace = {}
exec(open("loader.py").read(), namespace)
namespace["load_library"]('extern "C" int f() { return 1; }', ["-O3", "-ffast-math", "-funsafe-math-optimizations"])
assert (tiny * 1.0).item() != 0.0
"""
    (tmp_path / "loader.py").write_text(LOADER)
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)


ABANDONED = """
import sys, time
from pathlib import Path
from devices.cpu import CpuDevice
from devices.toolchains.cpp import CppToolchain
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.signature import Signature
import os, signal

def give_way(group):
    os.killpg(group, signal.SIGSTOP)
    print(group, flush=True)
    time.sleep(600)

kernel = Kernel.model_validate_json(sys.argv[1])
CppToolchain().compile(kernel, CpuDevice().target(), Signature(), Path(sys.argv[2]), 60, give_way)
"""


def test_a_stopped_compiler_ends_with_whoever_stopped_it(tmp_path: Path) -> None:
    heavy = cpp_kernel(DOUBLE.replace("#include <cmath>", "#include <cmath>\n#include <regex>\n#include <map>"))
    owner = subprocess.Popen(
        [sys.executable, "-c", ABANDONED, heavy.model_dump_json(), str(tmp_path)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    assert owner.stdout is not None
    group = int(owner.stdout.readline())
    owner.kill()
    owner.communicate()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    os.killpg(group, signal.SIGKILL)
    pytest.fail("a compiler that nobody waits for stands still for ever")


def test_time_that_a_compiler_is_stopped_does_not_count(tmp_path: Path) -> None:
    pauses = []

    def give_way(group: int) -> None:
        if not pauses:
            os.killpg(group, signal.SIGSTOP)
            time.sleep(4.0)
            os.killpg(group, signal.SIGCONT)
        pauses.append(group)

    found = compiled(cpp_kernel(DOUBLE), tmp_path, 3.5, give_way)
    assert isinstance(found, Artifact)
    assert pauses
