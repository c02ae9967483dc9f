"""Draws docs/live.svg: the live view of a real, short search.

python -m scripts.picture [TASK] [SECONDS]
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path
from unittest.mock import patch

from rich.console import Console

from islands.archipelago import Progress
from kernelevolve import config, run
from kernelevolve.report.live import LiveView, panel

TARGET = Path(__file__).parents[1] / "docs" / "live.svg"


def main() -> int:
    task = sys.argv[1] if len(sys.argv) > 1 else "dlrm/layernorm_gating"
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 40.0
    seen: list[Progress] = []
    folder = tempfile.mkdtemp(prefix="kernelevolve-picture-")
    settings = config.load(
        [
            *(f"task={task}", f"budget.seconds={seconds:g}", f"run.dir={folder}/run"),
            *("final.compile=false", "evaluation.cache=off"),
        ]
    )

    def keep(_view: LiveView, progress: Progress, *_: object) -> None:
        seen.append(progress)

    with patch.object(LiveView, "update", keep):
        code = run.start(settings)
    near_the_end = [p for p in seen if p.fraction < 0.9][-1]
    console = Console(record=True, width=100, file=io.StringIO())
    console.print(panel(task, settings.budget, near_the_end))
    TARGET.write_text(console.export_svg(title="kernelevolve run"))
    return code


if __name__ == "__main__":
    sys.exit(main())
