"""What judging costs besides the kernel: a trivial kernel in forked children against one fresh interpreter per kernel.

    python scripts/bench/evaluation_overhead.py [--count 30] [--fresh 5]

`forked` is the whole pipeline (source, compiled already, correctness, timing) with as little timing as the settings allow; `fresh`
starts an interpreter that imports torch, loads the kernel and calls it once, without a check or a timing.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from omegaconf import OmegaConf

from devices.registry import get_device
from evaluators.pipeline import Pipeline
from evaluators.settings import EvaluationSettings
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.task import Task

ROOT = Path(__file__).resolve().parents[2]
MODEL = """import torch

class {name}(torch.nn.Module):
    def forward(self, x):
        return x + 1
"""
TASK = MODEL.format(name="Model") + "\n\ndef get_inputs():\n    return [torch.zeros(16)]\n"
FRESH = "import runpy, torch; print(runpy.run_path('kernel.py')['ModelNew']()(torch.zeros(16)).sum())"


def forked(count: int) -> list[float]:
    """Seconds of each evaluation, the timing as short as it can be."""
    plain = OmegaConf.to_container(OmegaConf.load(ROOT / "conf" / "evaluation" / "default.yaml"))
    settings = EvaluationSettings.model_validate(plain)
    short = settings.timing.model_copy(update={"block_seconds": 1e-5, "max_rounds": settings.timing.min_rounds})
    settings = settings.model_copy(update={"timing": short})
    pipeline = Pipeline(Task(name="add_one", source=TASK), get_device("cpu"), settings)
    try:
        pipeline.warm()
        seconds = []
        for i in range(count + 1):
            kernel = Kernel(source=f"{MODEL.format(name='ModelNew')}\n# {i}\n", language="python")
            begin = time.perf_counter()
            verdict = pipeline.evaluate(kernel)
            seconds.append(time.perf_counter() - begin)
            if verdict.diagnosis:
                raise SystemExit(f"the kernel was refused: {verdict.diagnosis.summary}")
        return seconds[1:]
    finally:
        pipeline.close()


def fresh(count: int) -> list[float]:
    """Seconds of one interpreter each."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "kernel.py").write_text(MODEL.format(name="ModelNew"))
        seconds = []
        for _ in range(count):
            begin = time.perf_counter()
            subprocess.run([sys.executable, "-c", FRESH], cwd=folder, check=True, stdout=subprocess.DEVNULL)
            seconds.append(time.perf_counter() - begin)
        return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=30)
    parser.add_argument("--fresh", type=int, default=5)
    arguments = parser.parse_args()
    ours, theirs = statistics.median(forked(arguments.count)), statistics.median(fresh(arguments.fresh))
    print(f"forked  {ours * 1e3:8.1f} ms per kernel (median of {arguments.count})")
    print(f"fresh   {theirs * 1e3:8.1f} ms per kernel (median of {arguments.fresh})")
    print(f"ratio   {theirs / ours:8.1f}")


if __name__ == "__main__":
    main()
