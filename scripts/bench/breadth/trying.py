"""What becomes of one problem: a copy of its reference judged by both protocols, and a search."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tokenize
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kernelevolve.report.folder import RunFolder
from kernelevolve.store.reader import GraphReader

PROTOCOLS = ("strict", "kernelbench")
_PATIENCE = 600.0
"""Seconds that one command may take beyond the search."""


@dataclass(frozen=True)
class Search:
    """How a search ended."""

    refused: str = ""
    """The line by which the task was refused; empty where it was not."""
    start: str = ""
    """The operator and the note of the first kernel."""
    best: str = ""
    """The operator and the note of the best kernel."""
    speedup: float | None = None
    interval: tuple[float, float] | None = None
    over_compile: float | None = None
    kernels: int = 0
    first_correct: float | None = None
    """Seconds since the start of the search."""
    start_seconds: float = 0.0
    """Before the search began."""
    why: str = ""
    """The commonest diagnosis, where nothing is correct."""


@dataclass(frozen=True)
class Row:
    """All that is told of one problem."""

    problem: str
    changes: tuple[str, ...] = ()
    note: str = ""
    """Of the shrinking."""
    copies: dict[str, str] = field(default_factory=dict)
    """Protocol -> status and summary of the copy of the reference."""
    search: Search | None = None

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Row:
        plain = json.loads(text)
        search = plain.pop("search")
        if search is not None and search["interval"] is not None:
            search["interval"] = tuple(search["interval"])
        return cls(**{**plain, "changes": tuple(plain["changes"])}, search=Search(**search) if search else None)


@dataclass(frozen=True)
class Verdicts:
    """All that is told of one problem without timing."""

    problem: str
    copies: dict[str, str]
    """Protocol -> `ok`, or status and summary of the copy of the reference."""
    first: str = ""
    """The operator and the note of the first right draft; empty where none is right."""
    complaints: tuple[str, ...] = ()
    """Why the drafts before it are not."""
    refused: str = ""
    """The line by which the task was refused; empty where it was not."""
    broke: str = ""
    """How the judging itself failed; empty where it did not."""
    prepare_seconds: float = 0.0
    """That the evaluator took until it could judge."""
    first_seconds: float = 0.0
    """That the operator and the evaluator took from then on until the first right draft."""

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Verdicts:
        plain = json.loads(text)
        return cls(**{**plain, "complaints": tuple(plain["complaints"])})


def copy_of(source: str) -> str:
    """The file with its class `Model` called `ModelNew`: the reference as a kernel."""
    tokens = [
        (kind, "ModelNew" if kind == tokenize.NAME and text == "Model" else text)
        for kind, text, *_ in tokenize.generate_tokens(io.StringIO(source).readline)
    ]
    return tokenize.untokenize(tokens)


def judge_copy(task: Path, protocols: Sequence[str]) -> dict[str, str]:
    """Status and summary by protocol."""
    kernel = task.parent / "copies" / task.name
    kernel.parent.mkdir(exist_ok=True)
    kernel.write_text(copy_of(task.read_text()))
    found = {}
    for protocol in protocols:
        done = _command("evaluate", str(task), str(kernel), "--json", "--preset", protocol)
        if done.returncode:
            found[protocol] = f"exit code {done.returncode}: {_last_line(done.stderr)}"
            continue
        verdict = json.loads(done.stdout)
        diagnosis = verdict["diagnosis"]
        found[protocol] = f"{verdict['status']}: {diagnosis['summary']}" if diagnosis else verdict["status"]
    return found


def judged(name: str, task: Path, cores: Iterable[int]) -> Verdicts:
    """What a process of its own on these cores tells of a problem: a traceback or a time limit is told as the reason."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "scripts.bench.breadth.verdicts", name, str(task), *map(str, cores)],
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE,
        )
    except subprocess.TimeoutExpired:
        return Verdicts(name, {}, broke=f"it took longer than {_PATIENCE:g} s")
    if done.returncode:
        return Verdicts(name, {}, broke=f"exit code {done.returncode}: {_last_line(done.stderr)}")
    return Verdicts.from_json(_last_line(done.stdout))


def search(task: Path, seconds: float, folder: Path, *, compiled: bool) -> Search:
    """One `kernelevolve run`. `compiled`: torch.compile is measured too."""
    words = ["run", "--quiet", f"task={task}", f"budget.seconds={seconds:g}", f"run.dir={folder}"]
    # What an earlier run found would be a head start.
    done = _command(*words, "evaluation.cache=off", f"final.compile={'true' if compiled else 'false'}", limit=seconds)
    if not (folder / "run.json").exists():
        return Search(refused=f"exit code {done.returncode}: {_last_line(done.stderr or done.stdout)}")
    return _told(folder)


def _told(folder: Path) -> Search:
    plain: dict[str, Any] = json.loads((folder / "run.json").read_text())
    best = plain["best"]
    seconds = plain["seconds"]
    with closing(GraphReader(*RunFolder(folder).graph())) as reader:
        first = reader.at_step(0, 0)
        fittest = reader.best(1)
        why = "" if best else _commonest(reader)
    return Search(
        start=f"{first.operator}: {first.note}" if first else "",
        best=f"{fittest[0].operator}: {fittest[0].note}" if fittest else "",
        speedup=best["speedup"] if best else None,
        interval=tuple(best["speedup_interval"]) if best and best["speedup_interval"] else None,
        over_compile=best["speedup_over_compile"] if best else None,
        kernels=sum(plain["evaluations"].values()),
        first_correct=seconds.get("first_correct"),
        start_seconds=seconds.get("start", 0.0),
        why=why,
    )


def _commonest(reader: GraphReader) -> str:
    counts: Counter[str] = Counter()
    step = 0
    while (node := reader.at_step(0, step)) is not None:
        if node.evaluation.diagnosis:
            counts[f"{node.evaluation.status}: {node.evaluation.diagnosis.summary}"] += 1
        step += 1
    return counts.most_common(1)[0][0] if counts else "nothing was judged"


def _command(*words: str, limit: float = 0.0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kernelevolve", *words]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=limit + _PATIENCE)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 124, "", f"it took longer than {limit + _PATIENCE:g} s")


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "no message"
