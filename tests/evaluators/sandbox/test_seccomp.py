"""Which system calls a confined process has lost, tried in real children; and what it must not have lost."""

from __future__ import annotations

import errno
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from evaluators.sandbox import seccomp
from evaluators.sandbox.isolation import isolation, isolation_of
from evaluators.settings import EvaluationSettings

needs_seccomp = pytest.mark.skipif(not seccomp.supported(), reason="this system cannot filter system calls")
needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")

PREAMBLE = """
import ctypes, errno, json, os, platform, resource, signal, socket, sys, tempfile, threading
from evaluators.sandbox.seccomp import confine_calls, rules
from evaluators.sandbox.system_calls import number_of

libc = ctypes.CDLL(None, use_errno=True)

def call(name, *arguments):
    "errno of a system call, 0 where it works"
    number = name if isinstance(name, int) else number_of(name, platform.machine())
    result = libc.syscall(ctypes.c_long(number), *(ctypes.c_long(a) for a in arguments))
    return ctypes.get_errno() if result == -1 else 0

def error_of(function, *arguments):
    try:
        function(*arguments)
    except OSError as error:
        return error.errno
    return 0

"""


def child(code: str, *arguments: str, confined: bool = True, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """Run `code` in a process that has lost its calls."""
    text = PREAMBLE + ("confine_calls()\n" if confined else "") + textwrap.dedent(code)
    return subprocess.run(
        [sys.executable, "-c", text, *arguments], capture_output=True, text=True, check=False, timeout=timeout
    )


def told(code: str, *arguments: str, confined: bool = True) -> dict[str, int]:
    """What `code` prints as JSON."""
    done = child(code, *arguments, confined=confined)
    assert done.returncode == 0, done.stderr
    found: dict[str, int] = json.loads(done.stdout)
    return found


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """Another process of this user."""
    process = subprocess.Popen(["sleep", "60"])
    yield process
    assert process.poll() is None, "it must have survived"
    process.kill()
    process.wait()


@needs_seccomp
def test_every_call_that_is_always_refused_is_refused() -> None:
    found = told("""
        assert "Seccomp:\\t2" in open("/proc/self/status").read()
        refused = [r for r in rules(os.getpid()) if not r.unless and r.only is None]
        wrong = {}
        for rule in refused:
            for name in rule.calls.split():
                if number_of(name, platform.machine()) is not None and (e := call(name, 0, 0, 0, 0, 0, 0)) != rule.error:
                    wrong[name] = e
        print(json.dumps(wrong))
    """)
    assert found == {}


@needs_seccomp
def test_no_process_is_started() -> None:
    found = told("""
        import subprocess
        print(json.dumps({
            "fork": error_of(os.fork),
            "spawn": error_of(os.posix_spawn, "/bin/true", ["true"], {}),
            "subprocess": error_of(subprocess.run, ["/bin/true"]),
            "system": os.system("true"),
            "exec": error_of(os.execv, "/bin/true", ["true"]),
            "clone with its own memory": call("clone", 17, 0, 0, 0, 0),
            "clone into another namespace": call("clone", 0x10000 | 0x40000000, 0, 0, 0, 0),
            "clone3": call("clone3", 0, 0),
        }))
    """)
    assert found.pop("system") != 0
    assert found.pop("exec") == errno.EPERM
    assert found.pop("clone3") == errno.ENOSYS
    assert set(found.values()) == {errno.EAGAIN}


@needs_seccomp
def test_a_fork_bomb_gets_nowhere() -> None:
    done = child("""
        def bomb():
            for _ in range(2000):
                try:
                    if os.fork() == 0:
                        print("alive", flush=True)
                except OSError:
                    pass
        threads = [threading.Thread(target=bomb) for _ in range(4)]
        [t.start() for t in threads], [t.join() for t in threads]
        print(len(open(f"/proc/self/task/{os.getpid()}/children").read().split()))
    """)
    assert done.stdout.split() == ["0"], done.stderr


@needs_seccomp
def test_no_socket_is_made_or_used() -> None:
    found = told("""
        kinds = [(family, kind) for family in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK)
                 for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)]
        print(json.dumps({str(k): error_of(socket.socket, *k) for k in kinds} | {"pair": error_of(socket.socketpair)}))
    """)
    assert set(found.values()) == {errno.EACCES}


@needs_seccomp
def test_a_socket_that_was_open_before_is_useless() -> None:
    found = told(
        """
        a, b = socket.socketpair()
        server = socket.create_server(("127.0.0.1", 0))
        confine_calls()
        print(json.dumps({"send": error_of(a.send, b"x"), "receive": error_of(b.recv, 1), "accept": error_of(server.accept),
                          "send message": error_of(a.sendmsg, [b"x"])}))
        """,
        confined=False,
    )
    assert set(found.values()) == {errno.EACCES}


@needs_seccomp
def test_other_processes_are_out_of_reach(bystander: subprocess.Popen[bytes]) -> None:
    before = os.sched_getaffinity(bystander.pid)
    found = told(
        """
        pid, parent = int(sys.argv[1]), os.getppid()
        limit = (ctypes.c_uint64 * 2)(0, 0)
        reading, writing = os.pipe()
        import fcntl
        print(json.dumps({
            "kill": error_of(os.kill, pid, signal.SIGKILL),
            "ask": error_of(os.kill, pid, 0),
            "parent": error_of(os.kill, parent, signal.SIGSTOP),
            "all": error_of(os.kill, -1, 0),
            "group": error_of(os.killpg, os.getpgid(pid), 0),
            "own group": error_of(os.kill, 0, 0),
            "tgkill": call("tgkill", pid, pid, 9),
            "tkill": call("tkill", pid, 9),
            "by a pipe": error_of(fcntl.fcntl, reading, fcntl.F_SETOWN, pid),
            "which signal": error_of(fcntl.fcntl, reading, 10, 9),
            "affinity": error_of(os.sched_setaffinity, pid, {min(os.sched_getaffinity(0))}),
            "idle class": error_of(os.sched_setscheduler, pid, os.SCHED_IDLE, os.sched_param(0)),
            "nice": error_of(os.setpriority, os.PRIO_PROCESS, pid, 19),
            "everybody nice": error_of(os.setpriority, os.PRIO_USER, 0, 19),
            "disks": call("ioprio_set", 1, pid, 3 << 13),
            "limits": call("prlimit64", pid, resource.RLIMIT_NOFILE, ctypes.addressof(limit), 0),
            "pages": call("migrate_pages", pid, 0, 0, 0),
        }))
        """,
        str(bystander.pid),
    )
    assert set(found.values()) == {errno.EPERM}, found
    assert os.sched_getaffinity(bystander.pid) == before


@needs_seccomp
def test_what_it_may_do_to_itself() -> None:
    found = told("""
        got = []
        signal.signal(signal.SIGUSR1, lambda *_: got.append(1))
        os.kill(os.getpid(), signal.SIGUSR1)
        signal.raise_signal(signal.SIGUSR1)
        def within():
            signal.raise_signal(signal.SIGUSR1)
            here["affinity of this thread"] = error_of(os.sched_setaffinity, 0, os.sched_getaffinity(0))
            there["by its number"] = error_of(os.sched_setaffinity, threading.get_native_id(), os.sched_getaffinity(0))
        here, there = {}, {}
        thread = threading.Thread(target=within)
        thread.start(), thread.join()
        limit = (ctypes.c_uint64 * 2)(64, 64)
        print(json.dumps({
            **here,
            "affinity": error_of(os.sched_setaffinity, 0, os.sched_getaffinity(0)),
            "affinity by pid": error_of(os.sched_setaffinity, os.getpid(), os.sched_getaffinity(0)),
            "signals": 3 - len(got),
            "limits": resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 0,
            "personality": call("personality", 0xFFFFFFFF),
            "memory file": error_of(os.memfd_create, "m"),
            "not: affinity of threads": there["by its number"] - errno.EPERM,
            "not: nice": error_of(os.nice, 1) - errno.EPERM,
            "not: limits": call("prlimit64", 0, resource.RLIMIT_NOFILE, ctypes.addressof(limit), 0) - errno.EPERM,
            "not: session": error_of(os.setsid) - errno.EPERM,
            "not: outliving its parent": call("prctl", 1, 0, 0, 0, 0) - errno.EPERM,
            "not: slower speculation": call("prctl", 53, 0, 4, 0, 0) - errno.EPERM,
            "not: another layout": call("personality", 0x0040000) - errno.EPERM,
        }))
    """)
    assert set(found.values()) == {0}, found


@needs_seccomp
def test_where_the_reference_runs_too_its_cores_are_fixed() -> None:
    found = told(
        """
        confine_calls(pinned=True)
        print(json.dumps({"affinity": error_of(os.sched_setaffinity, 0, os.sched_getaffinity(0))}))
        """,
        confined=False,
    )
    assert found == {"affinity": errno.EPERM}


@needs_seccomp
@pytest.mark.parametrize(
    ("code", "ends"),
    [
        ("os.abort()", signal.SIGABRT),
        ("ctypes.CDLL(None).abort()", signal.SIGABRT),
        ("signal.raise_signal(signal.SIGTERM)", signal.SIGTERM),
        ("os.kill(os.getpid(), signal.SIGKILL)", signal.SIGKILL),
        ("threading.Thread(target=os.abort).start()", signal.SIGABRT),
    ],
)
def test_it_can_end_itself_as_ever(code: str, ends: signal.Signals) -> None:
    assert child(code).returncode == -ends


@needs_seccomp
def test_files_of_its_own_keep_working_and_modes_are_kept(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_text("x")
    before = mine.stat()
    found = told(
        """
        import pathlib
        path = sys.argv[1]
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as file:
            file.write(b"x")
            target = pathlib.Path(folder, "a"); target.write_text("b"); target.rename(target.with_name("c")); target.touch()
        print(json.dumps({
            "mode": error_of(os.chmod, path, 0), "owner": error_of(os.chown, path, -1, 0), "times": error_of(os.utime, path),
            "attribute": error_of(os.setxattr, path, "user.x", b""),
            "unremovable": call("ioctl", os.open(path, 0), 0x40086602, ctypes.addressof(ctypes.c_int(16))),
        }))
        """,
        str(mine),
    )
    assert set(found.values()) == {errno.EPERM}, found
    assert mine.stat().st_mode == before.st_mode
    assert mine.stat().st_mtime_ns == before.st_mtime_ns


@needs_seccomp
def test_threads_that_run_already_lose_their_calls_too() -> None:
    found = told(
        """
        begin, found = threading.Event(), {}
        def wait():
            begin.wait()
            found["socket"] = error_of(socket.socket)
        thread = threading.Thread(target=wait)
        thread.start()
        confine_calls()
        begin.set(), thread.join()
        print(json.dumps(found))
        """,
        confined=False,
    )
    assert found == {"socket": errno.EACCES}


@needs_seccomp
def test_no_second_filter_and_no_calls_of_tomorrow() -> None:
    found = told("""
        print(json.dumps({"again": error_of(confine_calls), "by prctl": call("prctl", 22, 2, 0, 0, 0),
                          "unknown": call(5000), "x32": call(0x40000000 + 39)}))
    """)
    assert found == {"again": errno.EPERM, "by prctl": errno.EPERM, "unknown": errno.ENOSYS, "x32": errno.ENOSYS}


COMPILED = r"""
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>
#include <omp.h>

static void* twice(void* x) { *(int*)x *= 2; return x; }
int in_thread(int x) { pthread_t t; return pthread_create(&t, 0, twice, &x) || pthread_join(t, 0) ? -1 : x; }
int forks(void) { pid_t p = fork(); if (p == 0) _exit(0); return p < 0 ? errno : 0; }
int vforks(void) { pid_t p = vfork(); if (p == 0) _exit(0); return p < 0 ? errno : 0; }
int spawns(void) { pid_t p; char* a[] = {"true", 0}; return posix_spawn(&p, "/bin/true", 0, 0, a, 0); }
int sockets(void) { return socket(AF_INET, SOCK_DGRAM, 0) < 0 ? errno : 0; }
int traces(void) { return ptrace(PTRACE_ATTACH, getppid(), 0, 0) < 0 ? errno : 0; }
int kills(void) { return kill(getppid(), SIGKILL) < 0 ? errno : 0; }
long sum(long n) {
    long s = 0;
    #pragma omp parallel for reduction(+ : s) num_threads(4)
    for (long i = 0; i < n; ++i) s += i;
    return s;
}
int team(void) {
    int n = 0;
    #pragma omp parallel num_threads(4)
    { 
        #pragma omp atomic
        ++n;
    }
    return n;
}
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compiled")
    (folder / "calls.c").write_text(COMPILED)
    command = ["cc", "-shared", "-fPIC", "-fopenmp", "-pthread", "-o", "calls.so", "calls.c"]
    subprocess.run(command, cwd=folder, check=True)
    return folder / "calls.so"


@needs_seccomp
@needs_compiler
def test_compiled_code_is_held_to_the_same(library: Path) -> None:
    found = told(
        """
        made = ctypes.CDLL(sys.argv[1])
        made.sum.restype = ctypes.c_long
        print(json.dumps({name: getattr(made, name)() for name in ("forks", "vforks", "spawns", "sockets", "traces", "kills", "team")}
                         | {"in_thread": made.in_thread(21), "sum": made.sum(ctypes.c_long(1000))}))
        """,
        str(library),
    )
    assert found == {
        "forks": errno.EAGAIN,
        "vforks": errno.EAGAIN,
        "spawns": errno.EAGAIN,
        "sockets": errno.EACCES,
        "traces": errno.EPERM,
        "kills": errno.EPERM,
        "team": 4,
        "in_thread": 42,
        "sum": 499500,
    }


@needs_seccomp
@needs_compiler
def test_torch_works_in_several_threads(library: Path) -> None:
    done = child(
        """
        import torch
        confine_calls()
        torch.set_num_threads(4)
        torch.manual_seed(0)
        a, b = torch.randn(512, 512), torch.randn(512, 512)
        assert torch.allclose(a @ b, (a.double() @ b.double()).float(), atol=1e-3)
        image, weight = torch.randn(2, 8, 32, 32), torch.randn(4, 8, 3, 3)
        assert torch.nn.functional.conv2d(image, weight).shape == (2, 4, 30, 30)
        assert torch.nn.functional.conv2d(image.bfloat16(), weight.bfloat16()).dtype is torch.bfloat16
        x = torch.randn(64, 32, requires_grad=True)
        torch.nn.Linear(32, 8)(x).relu().sum().backward()
        assert x.grad is not None
        torch.linalg.svd(a[:64, :64]), torch.fft.fft(a), a.sort(), a.cumsum(0)
        import numpy
        assert numpy.allclose(a.numpy() @ b.numpy(), (a @ b).numpy(), atol=1e-3)
        with tempfile.TemporaryFile() as file:
            torch.save(a, file), file.seek(0)
            assert torch.equal(torch.load(file), a)
        assert ctypes.CDLL(sys.argv[1]).team() == 4
        results = []
        threads = [threading.Thread(target=lambda: results.append((a @ b).sum().item())) for _ in range(3)]
        [t.start() for t in threads], [t.join() for t in threads]
        assert len(results) == 3
        assert len(os.listdir("/proc/self/task")) > 1
        """,
        str(library),
        confined=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


def test_the_record_and_doctor_tell_it(settings: EvaluationSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evaluators.sandbox.landlock.version", lambda: 6)
    for there in (True, False):
        monkeypatch.setattr(seccomp, "supported", lambda there=there: there)
        (row,) = (row for row in isolation() if row.name == "seccomp")
        assert row.available is there
        assert ("seccomp (new processes, sockets" in isolation_of(settings)) is there
        assert seccomp.enforced() in row.detail or not there


def test_elsewhere_nothing_is_promised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert not seccomp.supported()
    assert seccomp.enforced() == "nothing"
    with pytest.raises(OSError, match="cannot filter"):
        seccomp.confine_calls()
