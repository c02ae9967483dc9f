"""Runs PyTorch's compilers in a process of its own: they keep caches and global state, and may take long or die."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
from pathlib import Path

from kernelevolve.core.helpers import import_path, module_command
from kernelevolve.core.task import Task
from kernelevolve.synthesis.traced.builder import UnsupportedError

_CHILD = "kernelevolve.synthesis.builtin.inductor.child"
_SECONDS = 900.0
"""Of wall time, after which something hangs: what bounds the work is the processor's time, which load does not lengthen."""
_KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "CXX", "OMP_NUM_THREADS", "TZ")


def answer(task: Task, stage: str, seconds: float = _SECONDS) -> dict[str, str]:
    """What the process says of one stage, `inductor` or `aten`: `kernel` (a record as JSON), which compiles and runs, with a `remark`
    on what it does not cover; else `refused`, the reason.

    The process gets a scrubbed environment (none of TorchInductor's settings, no keys) and folders that go with it; after `seconds` it is
    killed with all that it started. Raises UnsupportedError where it ends without an answer.
    """
    with tempfile.TemporaryDirectory(prefix="kernelevolve-inductor-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "task.json").write_text(task.model_dump_json(), encoding="utf-8")
        messages = folder / "messages"
        with messages.open("wb") as output:
            process = subprocess.Popen(
                module_command(_CHILD, str(folder / "task.json"), str(folder / "result.json"), stage),
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
        if code == -signal.SIGXCPU:
            raise UnsupportedError("it took more than its share of the processor's time")
        if code != 0 or not result.exists():
            lines = messages.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise UnsupportedError(
                f"its process ended with status {code}: {lines[-1][:200] if lines else 'no message'}"
            )
        told: dict[str, str] = json.loads(result.read_text(encoding="utf-8"))
    return told


def _environment(folder: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k in _KEPT_VARIABLES}
    private = {"HOME": str(folder), "TMPDIR": str(folder), "TORCHINDUCTOR_CACHE_DIR": str(folder / "cache")}
    return {**kept, **private, "PYTHONPATH": import_path(), "PYTHONHASHSEED": "0"}
