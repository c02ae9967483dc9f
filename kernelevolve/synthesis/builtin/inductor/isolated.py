"""Runs TorchInductor in a process of its own: it keeps caches and global state, and may take long or die."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from kernelevolve.core.kernel import Kernel
from kernelevolve.core.task import Task
from kernelevolve.synthesis.traced.builder import UnsupportedError

_CHILD = "kernelevolve.synthesis.builtin.inductor.child"
_SECONDS = 300.0
_KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "CXX", "OMP_NUM_THREADS", "TZ")


def inductor_seed(task: Task, seconds: float = _SECONDS) -> tuple[Kernel, str]:
    """A kernel from TorchInductor's code that compiles and runs, and a remark on what it does not cover.

    The process gets a scrubbed environment (none of TorchInductor's settings, no keys) and folders that go with it; after `seconds` it is
    killed with all that it started. Raises UnsupportedError with the reason where there is no such kernel.
    """
    with tempfile.TemporaryDirectory(prefix="kernelevolve-inductor-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "task.json").write_text(task.model_dump_json(), encoding="utf-8")
        messages = folder / "messages"
        with messages.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", _CHILD, str(folder / "task.json"), str(folder / "result.json")],
                cwd=folder,
                env=_environment(folder),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired as expired:
            raise UnsupportedError(f"it took longer than {seconds:g} s") from expired
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        result = folder / "result.json"
        if code != 0 or not result.exists():
            lines = messages.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise UnsupportedError(
                f"its process ended with status {code}: {lines[-1][:200] if lines else 'no message'}"
            )
        answer: dict[str, str] = json.loads(result.read_text(encoding="utf-8"))
    if "refused" in answer:
        raise UnsupportedError(answer["refused"])
    return Kernel.model_validate_json(answer["kernel"]), answer["remark"]


def _environment(folder: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k in _KEPT_VARIABLES}
    path = os.pathsep.join(str(Path(p).resolve()) for p in sys.path)
    private = {"HOME": str(folder), "TMPDIR": str(folder), "TORCHINDUCTOR_CACHE_DIR": str(folder / "cache")}
    return {**kept, **private, "PYTHONPATH": path, "PYTHONHASHSEED": "0"}
