"""Kernel files as somebody has them who has PyTorch and a compiler, and nothing of this project."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.packages import PACKAGES


def runs_alone(folder: Path, code: str) -> None:
    """`kernel.py` in the folder serves `code`, which sees it as `kernel`, sees torch, and raises where it is wrong."""
    hide = f"import sys; sys.modules.update(dict.fromkeys({PACKAGES!r})); sys.path.insert(0, '.')"
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"{hide}; import torch, kernel; {code}; print('right')"],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "right", done.stderr
