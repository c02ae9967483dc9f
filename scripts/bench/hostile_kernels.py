"""Kernels that misbehave, each of its kind with the verdicts that it may get, and some that behave, for the benchmark `hostile`."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from devices.toolchains.loader import LOADER
from kernelevolve.core.evaluation import Status
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.task import Task

TASK = Task(
    name="relu_twice",
    source='''"""Small, so that the judging is all there is."""

import torch
from torch import nn


class Model(nn.Module):
    def forward(self, x):
        return torch.relu(x) * 2


def get_inputs():
    return [torch.randn(64, 64)]


def get_init_inputs():
    return []
''',
)

_PYTHON = """import atexit, ctypes, mmap, os, resource, signal, subprocess, sys, threading, time
import torch

PAGE = b"x" * (1 << 20)
calls = 0
{top}

class ModelNew(torch.nn.Module):
    def forward(self, x):
        global calls
        calls += 1
{body}
        return torch.relu(x) * 2
"""

_CPP = '''import ctypes
import torch

CPP_FLAGS = ["-O1"]
CPP_SOURCE = r"""
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <omp.h>
static volatile int64_t never = 0;
int64_t deep(int64_t n) {{ volatile char room[4096]; room[0] = char(n); return deep(n + 1) + room[0]; }}
extern "C" void run(const float* x, float* y, int64_t n) {{
  {body}
  #pragma omp parallel for
  for (int64_t i = 0; i < n; ++i) y[i] = x[i] > 0 ? 2 * x[i] : 0;
}}
"""
{loader}
library = load_library(CPP_SOURCE, CPP_FLAGS)
library.run.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]


class ModelNew(torch.nn.Module):
    def forward(self, x):
        y = torch.empty_like(x)
        library.run(x.data_ptr(), y.data_ptr(), x.numel())
        return y
'''


@dataclass(frozen=True)
class Kind:
    """A way to behave."""

    name: str
    language: str
    source: str
    expected: frozenset[Status]

    def kernel(self, number: int) -> Kernel:
        """One that was never judged before."""
        return Kernel(language=self.language, source=f"{self.source}\n# {number}\n")


def _python(name: str, body: str, *expected: Status, top: str = "") -> Kind:
    lines = "\n".join(f"        {line}" for line in body.splitlines())
    return Kind(name, "python", _PYTHON.format(top=top, body=lines), frozenset(expected))


def _cpp(name: str, body: str, *expected: Status) -> Kind:
    return Kind(name, "cpp", _CPP.format(body=body, loader=LOADER), frozenset(expected))


HONEST = (
    _python("python", "pass", Status.OK),
    _cpp("c++", "", Status.OK),
    _python("wrong", "return x", Status.WRONG_RESULT),
    _python("raises", "raise ValueError('no luck')", Status.RUNTIME_ERROR),
)
_HONEST_WEIGHTS = (9, 9, 1, 1)

_IGNORE = """for number in range(1, 65):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
"""
_INSIST = """while True:
    try:
        {what}
    except OSError:
        pass
"""
_DAEMON = """if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(1e6)
"""
_FILL = """for number in range(1000):
    file = {opened}
    for _ in range(16):
        os.write(file, PAGE)
    {after}
time.sleep(1e6)
"""
_OPENED = "os.open(f'f{number}', os.O_CREAT | os.O_WRONLY)"
_SHARED = """kept = mmap.mmap(-1, 1 << 30)
for _ in range(1 << 10):
    kept.write(PAGE)
time.sleep(1e6)
"""
_THREAD_BOMB = """threading.stack_size(1 << 16)
try:
    for _ in range(10_000):
        threading.Thread(target=time.sleep, args=(1e6,), daemon=True).start()
except RuntimeError:
    pass
time.sleep(1e6)
"""
_DEEP = """for _ in range(3000):
    os.mkdir("deep", 0o300)
    os.chdir("deep")
time.sleep(1e6)
"""
_SHMGET = """libc = ctypes.CDLL(None, use_errno=True)
if libc.shmget(0, 1 << 20, 0o1600) < 0:
    raise OSError(ctypes.get_errno(), "shmget")
"""
_TIMED = """def timed(frame):
    return frame is not None and (frame.f_code.co_name == "_prepare" or timed(frame.f_back))
"""
_SLOW_DEL = """class Slow:
    def __del__(self):
        while True:
            time.sleep(1)


slow = Slow()
"""

HOSTILE = (
    _python("hangs", "while True: pass", Status.TIMEOUT),
    _cpp("hangs in OpenMP", '_Pragma("omp parallel") while (!never) {}', Status.TIMEOUT),
    _python("sleeps", "time.sleep(1e6)", Status.TIMEOUT),
    _python("hangs when loaded", "pass", Status.TIMEOUT, top="time.sleep(1e6)"),
    _python("hangs in a timed call", "if timed(sys._getframe()): time.sleep(1e6)", Status.TIMEOUT, top=_TIMED),
    _python("stops itself", "os.kill(os.getpid(), signal.SIGSTOP)", Status.TIMEOUT),
    _python("ignores signals", f"{_IGNORE}time.sleep(1e6)", Status.TIMEOUT),
    _python("ignores signals, spins", f"{_IGNORE}while True: pass", Status.TIMEOUT),
    _python("kills itself", "os.kill(os.getpid(), signal.SIGKILL)", Status.CRASHED),
    _python("segfault", "ctypes.string_at(0)", Status.CRASHED),
    _cpp("segfault in OpenMP", '_Pragma("omp parallel") *(volatile int*)8 = omp_get_thread_num();', Status.CRASHED),
    _cpp("stack overflow", "y[0] = float(deep(never));", Status.CRASHED),
    _python("recursion", "self.forward(x)", Status.RUNTIME_ERROR),
    _python("abort", "os.abort()", Status.CRASHED),
    _python("exit code 0", "os._exit(0)", Status.CRASHED),
    _python("sys.exit, slow atexit", "atexit.register(time.sleep, 1e6); sys.exit(0)", Status.CRASHED),
    _python("slow __del__ at its end", "pass", Status.OK, top=_SLOW_DEL),
    _python("slow __del__ in forward", "global slow; slow = None", Status.TIMEOUT, top=_SLOW_DEL),
    _python("memory, bytearrays", "kept = []\nwhile True: kept.append(bytearray(1 << 23))", Status.OUT_OF_MEMORY),
    _python("memory, one tensor", "torch.empty(1 << 40).fill_(1)", Status.OUT_OF_MEMORY),
    _cpp("memory, new", "for (;;) std::memset(new char[1 << 22], 1, 1 << 22);", Status.OUT_OF_MEMORY),
    _cpp(
        "memory, malloc, then hangs",
        "while (void* p = std::malloc(1 << 22)) std::memset(p, 1, 1 << 22); while (!never) {}",
        Status.TIMEOUT,
        Status.OUT_OF_MEMORY,
    ),
    _python("memory, shared map", _SHARED, Status.OUT_OF_MEMORY),
    _python("memory, memfd", _FILL.format(opened="os.memfd_create('m')", after="pass"), Status.OUT_OF_MEMORY),
    _python(
        "memory, removed files", _FILL.format(opened=_OPENED, after="os.unlink(f'f{number}')"), Status.OUT_OF_MEMORY
    ),
    _python("fills its folder", _FILL.format(opened=_OPENED, after="os.close(file)"), Status.OUT_OF_MEMORY),
    _python(
        "folder of many files",
        "for number in range(1 << 20): os.close(os.open(str(number), os.O_CREAT))",
        Status.OUT_OF_MEMORY,
    ),
    _python("folder of many levels", _DEEP, Status.OUT_OF_MEMORY),
    _python("a file too long", "os.ftruncate(os.open('f', os.O_CREAT | os.O_RDWR), 1 << 40)", Status.RUNTIME_ERROR),
    _python("writes to /dev/shm", "open('/dev/shm/kernelevolve-left', 'w')", Status.RUNTIME_ERROR),
    _python("System V memory", _SHMGET, Status.RUNTIME_ERROR),
    _python("descriptors", "while True: os.dup(0)", Status.RUNTIME_ERROR),
    _python("fork bomb", "while True: os.fork()", Status.RUNTIME_ERROR),
    _python("fork bomb, insists", _INSIST.format(what="os.fork()"), Status.TIMEOUT),
    _python("subprocess bomb", "while True: subprocess.Popen(['sleep', '1000'])", Status.RUNTIME_ERROR),
    _python("subprocess bomb, insists", _INSIST.format(what="subprocess.Popen(['sleep', '1'])"), Status.TIMEOUT),
    _python("daemon", _DAEMON, Status.RUNTIME_ERROR),
    _python("kills its parent", "os.kill(os.getppid(), signal.SIGKILL)", Status.RUNTIME_ERROR),
    _python("kills everybody", "os.kill(-1, signal.SIGKILL)", Status.RUNTIME_ERROR),
    _python("thread bomb", _THREAD_BOMB, Status.OUT_OF_MEMORY),
    _python("threads that stay", "if calls < 9: threading.Thread(target=time.sleep, args=(1e6,)).start()", Status.OK),
    _python("prints without end", "while True: os.write(1, PAGE)", Status.TIMEOUT),
    _python("prints megabytes", "if calls == 1: os.write(2, PAGE * 8)", Status.OK),
    _python("closes its channel", "os.close(3); time.sleep(1e6)", Status.CRASHED),
    _python("rubbish on its channel", "os.write(3, b'rubbish\\n'); time.sleep(1e6)", Status.CRASHED),
    _python("rubbish without end", "while True: os.write(3, PAGE)", Status.CRASHED),
    _python("eats its orders", "while True: os.read(3, 1)", Status.TIMEOUT),
)


def mixture(count: int, seed: int, hostile_share: float) -> list[tuple[int, Kind]]:
    """Numbered kinds: each hostile one in turn, honest ones by their weights, in an order that the seed alone decides."""
    rng = Random(seed)
    bad = round(count * hostile_share)
    kinds = [HOSTILE[i % len(HOSTILE)] for i in range(bad)]
    kinds += rng.choices(HONEST, _HONEST_WEIGHTS, k=count - bad)
    rng.shuffle(kinds)
    return list(enumerate(kinds))
