"""How many tokens a node takes: a whole run with an endpoint whose answers are scripts, not a model's.

    python -m scripts.bench.model_costs [--nodes 40]

What is read is told by the prompts that the run makes; the answers are those of scripts, whole files of a small kernel. Tokens are
estimated by length, on the safe side (`kernelevolve/llm/lengths.py`).
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from kernelevolve.llm.lengths import tokens_of_message
from kernelevolve.llm.messages import Tokens
from kernelevolve.llm.recording import FILE, Recording
from tests.cli.test_model_run import ROOT, TASK, behave, reached
from tests.endpoint import Answer, Behaviour, Endpoint
from tests.keys import KEY, VARIABLE


def untold(body: Mapping[str, Any], number: int) -> Behaviour:
    """An answer that does not say what it took."""
    answer = behave(body, number)
    assert isinstance(answer, Answer)
    return dataclasses.replace(answer, usage=None)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=40)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, Endpoint(untold) as endpoint:
        folder = Path(name)
        (folder / "task.py").write_text(TASK)
        words = [*reached(endpoint), f"budget.evaluations={options.nodes}", "budget.seconds=300", "run.dir=run"]
        command = [sys.executable, "-m", "kernelevolve", "run", "task=task.py", "final.compile=false", *words]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), VARIABLE: KEY}
        subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, timeout=500)
        with closing(Recording(folder / "run" / FILE, write=False)) as recording:
            found = [recording.exchange(number + 1) for number in range(recording.count())]
    total = sum((completion.tokens for _, _, completion in found), Tokens())
    heads = [tokens_of_message(request.messages[0]) for _, request, _ in found]
    prompts = sorted(completion.tokens.read for _, _, completion in found)
    print(
        f"{options.nodes} nodes, {len(found)} requests ({len(found) / options.nodes:.2f} a node): "
        f"{total.read / options.nodes:.0f} tokens read and {total.written / options.nodes:.0f} written for a node; "
        f"a prompt has {prompts[0]} to {prompts[-1]} tokens, {prompts[len(prompts) // 2]} in the middle, "
        f"of which {heads[0]} are the head that all have in common ({sum(heads) / total.read:.0%} of what is read)"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
