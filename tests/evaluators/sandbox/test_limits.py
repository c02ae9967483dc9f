"""Limits, tried in real children."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap

import pytest
from pydantic import ValidationError

from evaluators.sandbox.limits import Limits

GENEROUS = Limits(memory_bytes=1 << 30, file_bytes=1 << 30, processor_seconds=100, open_files=100)

PREAMBLE = """
import ctypes, errno, mmap, os, resource, sys, tempfile, threading
from evaluators.sandbox.limits import Limits, apply_limits

def error_of(function, *arguments):
    try:
        function(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno]
    except MemoryError:
        return "MemoryError"
    return ""

"""


def child(code: str, limits: Limits, first: str = "") -> subprocess.CompletedProcess[str]:
    """Run `code` in a process that is limited after `first`."""
    apply = f"apply_limits(Limits.model_validate_json({limits.model_dump_json()!r}))\n"
    text = PREAMBLE + textwrap.dedent(first) + "\n" + apply + textwrap.dedent(code)
    return subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False, timeout=100)


def printed(code: str, limits: Limits, first: str = "") -> list[str]:
    done = child(code, limits, first)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_memory_beyond_the_limit_is_an_error_and_below_it_none() -> None:
    code = "print(error_of(bytearray, 100 << 20) or 'fine', error_of(bytearray, 300 << 20))"
    assert printed(code, GENEROUS.model_copy(update={"memory_bytes": 200 << 20})) == ["fine", "MemoryError"]


def test_what_the_process_holds_already_does_not_count() -> None:
    limits = GENEROUS.model_copy(update={"memory_bytes": 100 << 20})
    assert printed("print(error_of(bytearray, 50 << 20) or 'fine')", limits, "held = bytearray(300 << 20)") == ["fine"]


def test_torch_says_that_there_is_no_memory_and_works_on() -> None:
    code = """
        try:
            torch.empty(1 << 30)
        except RuntimeError as error:
            print("allocate" in str(error))
        x = torch.randn(512, 512)
        print((x @ x).shape[0])
    """
    assert printed(code, GENEROUS, "import torch; torch.set_num_threads(4)") == ["True", "512"]


def test_shared_maps_are_held_by_the_limit_of_addresses() -> None:
    code = "print(error_of(mmap.mmap, -1, 2 << 30) or 'fine')"
    assert printed(code, GENEROUS) == ["fine"]
    assert printed(code, GENEROUS.model_copy(update={"address_bytes": 1 << 30})) == ["ENOMEM"]


def test_files_end_at_their_limit() -> None:
    code = """
        with tempfile.TemporaryFile() as file:
            print(error_of(os.pwrite, file.fileno(), b"x", 4095) or "fine", error_of(os.pwrite, file.fileno(), b"x", 4096))
    """
    assert printed(code, GENEROUS.model_copy(update={"file_bytes": 4096})) == ["fine", "EFBIG"]


def test_descriptors_end_at_their_limit() -> None:
    code = "found = [os.dup(0) for _ in range(20)]; print(error_of(lambda: [os.dup(0) for _ in range(100)]))"
    assert printed(code, GENEROUS.model_copy(update={"open_files": 64})) == ["EMFILE"]


def test_processor_time_of_all_threads_ends_the_process() -> None:
    done = child("while True: pass", GENEROUS.model_copy(update={"processor_seconds": 1}))
    assert done.returncode == -signal.SIGKILL


def test_nothing_is_dumped_be_it_to_a_file_or_to_a_program() -> None:
    assert printed("print(*resource.getrlimit(resource.RLIMIT_CORE))", GENEROUS) == ["1", "1"]
    done = child("os.abort()", GENEROUS)
    assert done.returncode == -signal.SIGABRT
    code = "pid = os.fork() or os.abort(); print(os.WCOREDUMP(os.waitpid(pid, 0)[1]))"
    assert printed(code, GENEROUS) == ["False"]


def test_a_lower_limit_stays() -> None:
    first = "resource.setrlimit(resource.RLIMIT_NOFILE, (50, 60))"
    assert printed("print(*resource.getrlimit(resource.RLIMIT_NOFILE))", GENEROUS, first) == ["60", "60"]


@pytest.mark.skipif(os.getuid() != 0, reason="to become another user")
def test_threads_of_a_user_end_at_their_limit() -> None:
    code = """
        os.setuid(61234)
        stop, started = threading.Event(), 0
        try:
            for started in range(3000):
                threading.Thread(target=stop.wait).start()
        except RuntimeError as error:
            print("start new thread" in str(error), 40 <= started)
        stop.set()
    """
    first = "threading.stack_size(1 << 16)"
    assert printed(code, GENEROUS.model_copy(update={"tasks": 40}), first) == ["True", "True"]


def test_limits_of_nothing_are_a_mistake() -> None:
    with pytest.raises(ValidationError):
        Limits(memory_bytes=0, file_bytes=1, processor_seconds=1, open_files=1)
