"""PyTorch's compilers in a separate process, since they keep global state and may hang or crash."""

from __future__ import annotations

import json
import signal
import subprocess
import tempfile
from pathlib import Path

from kernelevolve.core.child_process import import_path, kill_group, module_command, scrubbed_environment
from kernelevolve.core.task import Task
from kernelevolve.synthesis.background import BackgroundWork
from kernelevolve.synthesis.traced.builder import UnsupportedError

_CHILD = "kernelevolve.synthesis.builtin.inductor.child"
_SECONDS = 900.0
"""The wall-clock seconds after which the process counts as hanging. Its work is limited by processor time instead."""


def answer(task: Task, stage: str, seconds: float = _SECONDS) -> dict[str, str]:
    """Write the seed of a task in a separate process.

    The process gets a minimal environment, without settings of TorchInductor and API keys, and temporary folders. At the
    end it is killed with all processes that it started.

    Args:
        task: The task.
        stage: `inductor` or `aten`.
        seconds: The wall-clock limit.

    Returns:
        `kernel`, a working kernel as JSON, and `remark`, which says what it does not cover; or `refused`, the reason.

    Raises:
        UnsupportedError: The process failed or exceeded a limit.
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
        background = BackgroundWork(process.pid)
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired as expired:
            raise UnsupportedError(f"it took longer than {seconds:g} s") from expired
        finally:
            background.end()
            kill_group(process.pid)
            process.wait()
        result = folder / "result.json"
        if code == -signal.SIGXCPU:
            raise UnsupportedError("it exceeded the limit on its processor time")
        if code != 0 or not result.exists():
            lines = messages.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise UnsupportedError(
                f"its process ended with status {code}: {lines[-1][:200] if lines else 'no message'}"
            )
        reply: dict[str, str] = json.loads(result.read_text(encoding="utf-8"))
    return reply


def _environment(folder: Path) -> dict[str, str]:
    """Return the environment of the process, whose home and caches are in the folder."""
    return scrubbed_environment(
        HOME=str(folder),
        TMPDIR=str(folder),
        TORCHINDUCTOR_CACHE_DIR=str(folder / "cache"),
        PYTHONPATH=import_path(),
        PYTHONHASHSEED="0",
    )
