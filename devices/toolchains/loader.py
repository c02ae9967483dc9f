"""The loader text that every C++ kernel file contains, so that the file runs by itself."""

from __future__ import annotations

LOADER = r'''
import ctypes
import functools
import hashlib
import os
import pathlib
import platform
import shutil
import subprocess
import tempfile


def _compiler() -> str:
    for name in [os.environ["CXX"]] if os.environ.get("CXX") else ["g++", "clang++"]:
        path = shutil.which(name)
        if path:
            return path
    raise FileNotFoundError("no C++ compiler; install one (apt install g++) or set CXX to its path")


@functools.lru_cache(maxsize=8)
def _compiler_version(compiler: str) -> str:
    # Whoever built the library has asked already: a confined process cannot run the compiler.
    known = os.environ.get("KERNELEVOLVE_BUILT_BY")
    return known or subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True).stdout.split("\n")[0]


@functools.lru_cache(maxsize=1)
def _cpu() -> str:
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return platform.machine() + platform.processor()
    wanted = {"model name", "flags", "Features", "CPU part"}
    first = cpuinfo.read_text().split("\n\n")[0].split("\n")
    return platform.machine() + "\n".join(line for line in first if line.split("\t")[0].strip(" :") in wanted)


def _library_name(source: str, flags: list[str]) -> str:
    steps = [part for command in _commands("cxx", "in", "out", []) for part in command]
    parts = (source, *flags, *steps, _compiler_version(_compiler()), _cpu())
    return "kernel-" + hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32] + ".so"


def _commands(compiler: str, source_file: str, library: str, flags: list[str]) -> list[list[str]]:
    # Linking without the flags: with -ffast-math, gcc before 13 adds code that flushes denormals in the whole process.
    libraries = [flag for flag in flags if flag.startswith("-l")]
    options = [flag for flag in flags if not flag.startswith("-l")]
    common = ["-fPIC", "-x", "c++", "-std=c++17", "-fopenmp"]
    return [
        [compiler, "-c", *common, *options, "-o", library + ".o", source_file],
        [compiler, "-shared", "-fopenmp", "-o", library, library + ".o", *libraries],
    ]


def _private_cache() -> pathlib.Path:
    folder = pathlib.Path.home() / ".cache" / "kernelevolve"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.stat()
    if status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise PermissionError(f"{folder} must belong to this user alone: chown it and chmod 700 it, or remove it")
    return folder


def load_library(source: str, flags: list[str]) -> ctypes.CDLL:
    """The shared library of `source`: the one already built for this compiler and CPU, else one compiled now."""
    import torch  # noqa: F401  (its OpenMP runtime must be in the process before the kernel's library)

    name = _library_name(source, flags)
    built = os.environ.get("KERNELEVOLVE_BUILD_DIR")
    if built and (pathlib.Path(built) / name).exists():
        return ctypes.CDLL(str(pathlib.Path(built) / name))
    cache = _private_cache()
    library = cache / name
    if not library.exists():
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            (pathlib.Path(folder) / "kernel.cpp").write_text(source, encoding="utf-8")
            for command in _commands(_compiler(), "kernel.cpp", name, flags):
                done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
                if done.returncode:
                    raise RuntimeError("the kernel does not compile:\n" + done.stderr)
            os.replace(pathlib.Path(folder) / name, library)
    return ctypes.CDLL(str(library))
'''.strip("\n")
