"""A whole search through a model: real HTTP, real kernels, and answers that are scripts, not a model's."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from kernelevolve import config
from kernelevolve.core.errors import UserError
from kernelevolve.core.graph import Node
from kernelevolve.llm.recording import FILE, Recording
from tests.endpoint import Answer, Behaviour, Endpoint
from tests.keys import KEY, VARIABLE
from tests.small_task import QUICK, SOURCE

ROOT = Path(__file__).parents[2]
ALONE = ("islands.count=1", "islands.in_flight=1", "search.drafts=3", "seed=4")

TASK = SOURCE.replace("torch.nn.functional.gelu(x) * 2.0", "((x * 2.0 + 1.0) * x - 0.5) * x + 3.0").replace("64", "256")
"""Several passes over memory, which one loop can do at once."""

FAST = '''import ctypes

import torch
from torch import nn

CPP_FLAGS = ["-O3", "-march=native", "-ffast-math", "-fno-finite-math-only"]
CPP_SOURCE = r"""
#include <cstdint>
extern "C" void run(const float* x, float* y, int64_t n) {
  #pragma omp simd
  for (int64_t i = 0; i < n; ++i) y[i] = ((x[i] * 2.0f + 1.0f) * x[i] - 0.5f) * x[i] + 3.0f;
}
"""
# LOADER: defines load_library(CPP_SOURCE, CPP_FLAGS) -> ctypes.CDLL
_LIBRARY = load_library(CPP_SOURCE, CPP_FLAGS)
_LIBRARY.run.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]


class ModelNew(nn.Module):
    def forward(self, x):
        x = x.contiguous()
        y = torch.empty_like(x)
        _LIBRARY.run(x.data_ptr(), y.data_ptr(), x.numel())
        return y
'''
PLAIN = TASK.replace("class Model(", "class ModelNew(")
SLOW = PLAIN.replace("return (", "x = x.clone().clone().clone()\n        return (")
WRONG = PLAIN.replace("3.0", "4.0")
CHEAT = PLAIN.replace(
    "return (", "if hasattr(self, 'kept'):\n            return self.kept\n        self.kept = ("
).replace("+ 3.0", "+ 3.0\n        return self.kept")


def fenced(source: str, note: str) -> str:
    return f"NOTE: {note}\n\n```python\n{source}```\n"


def behave(_: Mapping[str, Any], number: int) -> Behaviour:
    """Malformed, then mended; slow; wrong; cheating; then ever the same good idea, each time another file."""
    script = [
        "I would need more context.",
        fenced(SLOW, "copies first"),
        fenced(WRONG, "a wrong number"),
        fenced(CHEAT, "kept from the first call"),
    ]
    return Answer(script[number] if number < len(script) else fenced(f"{FAST}# {number}\n", "one loop"))


def run(*words: str, cwd: Path, key: str | None = KEY) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **({VARIABLE: key} if key else {})}
    return subprocess.run(
        [sys.executable, "-m", "kernelevolve", "run", "task=task.py", "--quiet", *words],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def graph(*words: str, cwd: Path) -> str:
    command = [sys.executable, "-m", "kernelevolve", "graph", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=True).stdout


def reached(endpoint: Endpoint) -> list[str]:
    backend = [f"llm.backend.base_url={endpoint.url}", f"llm.backend.key={VARIABLE}"]
    return ["operator=llm", "llm=openai", "llm.models=[tiny]", *backend]


def nodes(folder: Path) -> list[Node]:
    with sqlite3.connect(folder / "graph.sqlite") as db:
        rows = db.execute("SELECT record, evaluation, kernel FROM nodes ORDER BY step").fetchall()
        verdicts = dict(db.execute("SELECT id, evaluation FROM kernels").fetchall())
    return [
        Node.model_validate({**json.loads(record), "evaluation": json.loads(own or verdicts[kernel_id])})
        for record, own, kernel_id in rows
    ]


@pytest.mark.alone
@pytest.mark.thorough
def test_fitness_rises_and_a_recorded_run_repeats_with_no_network(tmp_path: Path) -> None:
    (tmp_path / "task.py").write_text(TASK)
    budget = ("budget.seconds=150", "budget.evaluations=6")
    prices = "+llm.prices={tiny: {read: 1.0, written: 2.0}}"
    with Endpoint(behave) as endpoint:
        done = run(*reached(endpoint), *ALONE, *QUICK, *budget, prices, "run.dir=first", cwd=tmp_path)
        assert done.returncode == 0, done.stderr + done.stdout
        asked = len(endpoint.requests)
    first = nodes(tmp_path / "first")
    found = [(node.evaluation.status.value, node.note) for node in first]
    assert found[0] == ("ok", "copies first")
    assert found[1] == ("wrong_result", "a wrong number")
    assert found[2][0] in ("cheating", "wrong_result")
    assert [node.note for node in first[3:]] == ["one loop"] * len(first[3:])
    assert max(node.fitness for node in first[3:]) > 1.5 > first[0].fitness > 0, "it rises"
    assert [node.operator for node in first[:4]].count("llm/draft") == 3
    assert len(first[0].exchanges) == 2, "one to mend it"
    assert {node.model for node in first} == {"tiny"}
    recording = Recording(tmp_path / "first" / FILE, write=False)
    assert recording.spent().tokens == 15 * asked
    assert recording.spent().cost == pytest.approx(asked * 20e-6)
    _, request, completion = recording.exchange(first[1].exchanges[0])
    assert "a wrong number" in completion.message.text
    assert TASK.strip() in request.messages[0].text
    for file in (path for path in (tmp_path / "first").rglob("*") if path.is_file()):
        assert KEY.encode() not in file.read_bytes(), file
    summary = json.loads((tmp_path / "first/run.json").read_text())
    assert summary["usage"] == {"tokens": 15 * asked, "cost": pytest.approx(asked * 20e-6)}
    assert summary["usage_by_model"] == {"tiny": summary["usage"]}
    assert summary["usage_by_island"] == {"0": summary["usage"]}
    shown = graph("first", "0.0", "--exchanges", cwd=tmp_path)
    assert "I would need more context." in shown
    assert shown.count("===== exchange") == 2
    assert len(json.loads(graph("first", "0.1", "--exchanges", "--json", cwd=tmp_path))) == 1
    replayed = ("operator=llm", "llm=replay", "llm.backend.recording=first", "llm.models=[tiny]")
    done = run(*replayed, *ALONE, *QUICK, *budget, "run.dir=second", cwd=tmp_path, key=None)
    assert done.returncode == 0, done.stderr + done.stdout
    second = nodes(tmp_path / "second")
    count = min(len(first), len(second))
    assert count >= 6
    assert [node.kernel_id for node in second[:count]] == [node.kernel_id for node in first[:count]]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["operator=llm"], "say which, as in llm=openai"),
        (["llm=openai", "llm.models=[tiny]"], "operator=llm does"),
        (["operator=llm", "llm=openai"], "llm.models has no value"),
        (["operator=llm", "llm=replay", "llm.models=[tiny]"], "llm.backend.recording has no value"),
        (["operator=llm", "llm=openai", "llm.models=[]"], "llm.models"),
        (["operator=llm", "llm=openai", "llm.models=[a,a]"], "a model is named twice"),
        (["operator=llm", "llm=openai", "llm.models=[a]", "llm.backend.api=telnet"], "llm.backend.api"),
        (["operator=llm", "llm=openai", "llm.models=[a]", "llm.attempts=0"], "llm.attempts"),
        (["operator=llm", "llm=openai", "llm.models=[a]", "budget.tokens=0"], "budget.tokens"),
    ],
)
def test_contradictory_settings_are_told(words: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said.replace("[", r"\[")):
        config.load(["task=dlrm/pffn", *words])


def test_what_the_configuration_says_of_models_is_what_is_built() -> None:
    found = config.load(["task=dlrm/pffn", "operator=llm", "llm=openai", "llm.models=[{name: a, weight: 2}, b]"])
    assert found.llm is not None
    assert [(model.name, model.weight) for model in found.llm.models] == [("a", 2.0), ("b", 1.0)]
    assert config.check(config.dump(found)) == found
