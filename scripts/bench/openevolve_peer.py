"""What openevolve does per second with an instant model and a trivial evaluator. Runs in an environment of its own:

    python -m venv peer && peer/bin/pip install openevolve==0.4.0
    python -m scripts.bench.archipelago_throughput --peer peer/bin/python

Called as `PYTHON openevolve_peer.py ITERATIONS WORKERS`, it prints a line of JSON for every 100 iterations: seconds so far, iterations.
Its settings are its defaults, but for the rewriting of whole programs and a log that says nothing; the model answers inside of its worker
processes, where a model over HTTP would have each iteration wait.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

_STEP = 100
_FILLER = "# a line of a kernel that does nothing at all\n" * 64
_PROGRAM = f"# EVOLVE-BLOCK-START\n# first\n{_FILLER}# EVOLVE-BLOCK-END\n"


class InstantModel:
    """A new program for every prompt and call, three kilobytes long."""

    def __init__(self, config: Any) -> None:
        self.model = config.name
        self._calls = 0

    async def generate(self, prompt: str, **options: Any) -> str:
        del options
        self._calls += 1
        mark = hashlib.sha256(f"{self._calls}{time.time_ns()}{prompt}".encode()).hexdigest()
        return f"```python\n# EVOLVE-BLOCK-START\n# {mark}\n{_FILLER}# EVOLVE-BLOCK-END\n```"

    async def generate_with_context(self, system_message: str, messages: list[dict[str, str]], **options: Any) -> str:
        del system_message
        return await self.generate(messages[-1]["content"], **options)


def instant_model(config: Any) -> InstantModel:
    return InstantModel(config)


_EVALUATOR = """
import hashlib

def evaluate(program_path):
    digest = hashlib.sha256(open(program_path, "rb").read()).digest()
    return {"combined_score": int.from_bytes(digest[:4], "big") / 2**32}
"""


def main() -> None:
    iterations, workers = int(sys.argv[1]), int(sys.argv[2])
    import openevolve_peer  # This file, by a name that worker processes find too.
    from openevolve import run_evolution
    from openevolve.config import Config, LLMConfig, LLMModelConfig
    from openevolve.database import ProgramDatabase

    logging.disable(logging.CRITICAL)
    model = LLMModelConfig(name="instant", init_client=openevolve_peer.instant_model)
    config = Config(llm=LLMConfig(models=[model]), diff_based_evolution=False, log_level="CRITICAL")
    config.evaluator.parallel_evaluations = workers
    config.evaluator.cascade_evaluation = False
    began = time.perf_counter()
    count = 0
    plain_add = ProgramDatabase.add

    def add(self: Any, *values: Any, **named: Any) -> Any:
        nonlocal count
        count += 1
        if count % _STEP == 0:
            print(json.dumps({"seconds": time.perf_counter() - began, "iterations": count}), flush=True)
        return plain_add(self, *values, **named)

    ProgramDatabase.add = add
    with tempfile.TemporaryDirectory(prefix="kernelevolve-bench-") as folder:
        evaluator = Path(folder, "evaluator.py")
        evaluator.write_text(_EVALUATOR)
        run_evolution(
            _PROGRAM, str(evaluator), config=config, iterations=iterations, output_dir=str(Path(folder, "out"))
        )


if __name__ == "__main__":
    main()
