"""The corpus that the evaluator is judged by: kernels that cheat, kernels that are honest, and what is expected of each.

`cheats/CLASS/NAME.py` and `honest/CLASS/NAME.py` are kernel files as a search would write them. The line after the docstring says
what belongs to them:

    # corpus: task=matmul language=cpp expect=wrong_result|crashed rule=none pointless

`task` names a file in `tasks/`. `expect` is the set of statuses that are right. `rule` is the task's rule on PyTorch's own compute.
`pointless` marks a trick that may pass, as long as it makes nothing faster.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from devices.toolchains.loader import LOADER
from kernelevolve.core.evaluation import Evaluation, Status
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.task import Task

FOLDER = Path(__file__).parent
MOST_FOR_NOTHING = 1.15
"""A trick is pointless while the lower end of its speedup's interval is not above this."""
_MARK = "# corpus: "
_LOADER_IMPORT = "from kernel_loader import load_library"
"""Stands for the text of the loader, which every kernel file in C++ carries."""


@dataclass(frozen=True)
class Entry:
    """One kernel of the corpus."""

    path: Path
    task_name: str
    language: str
    expected: frozenset[Status]
    rule: str | None
    pointless: bool

    @property
    def id(self) -> str:
        return f"{self.group}/{self.kind}/{self.path.stem}"

    @property
    def group(self) -> str:
        """`cheats` or `honest`."""
        return self.path.parts[-3]

    @property
    def kind(self) -> str:
        """The class that it belongs to."""
        return self.path.parts[-2]

    @property
    def task(self) -> Task:
        """The same object for all entries of one task and rule."""
        return _task(self.task_name, self.rule)

    @cached_property
    def summary(self) -> str:
        """The docstring of the file, one line."""
        return ast.get_docstring(ast.parse(self._text)) or ""

    @cached_property
    def kernel(self) -> Kernel:
        return Kernel(source=self._text.replace(_LOADER_IMPORT, LOADER.strip("\n")), language=self.language)

    @cached_property
    def _text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    def complaint(self, verdict: Evaluation) -> str | None:
        """What is wrong with a verdict on this kernel, one line; None where it is as expected."""
        said = f": {verdict.diagnosis.summary}" if verdict.diagnosis else ""
        if verdict.status not in self.expected:
            return f"{verdict.status}, expected {'|'.join(sorted(self.expected))}{said}"
        if self.pointless and verdict.speedup is not None and verdict.speedup.low > MOST_FOR_NOTHING:
            return f"a trick that should be worth nothing gives at least {verdict.speedup.low:.2f}x"
        return None


def read_corpus() -> tuple[Entry, ...]:
    """All entries, by task, so that one judge after the other can be used. Raises ValueError where a header is wrong."""
    found = [_entry(path) for group in ("cheats", "honest") for path in (FOLDER / group).glob("*/*.py")]
    return tuple(sorted(found, key=lambda e: (e.task_name, e.rule or "", e.id)))


def _entry(path: Path) -> Entry:
    lines = [line for line in path.read_text(encoding="utf-8").split("\n") if line.startswith(_MARK)]
    if len(lines) != 1:
        raise ValueError(f"{path}: wants one line that begins with {_MARK!r}")
    words = lines[0].removeprefix(_MARK).split()
    fields = dict(word.split("=", 1) for word in words if "=" in word)
    flags = {word for word in words if "=" not in word}
    unknown = (fields.keys() - {"task", "language", "expect", "rule"}) | (flags - {"pointless"})
    if unknown or not {"task", "language", "expect"} <= fields.keys():
        raise ValueError(f"{path}: header {lines[0]!r}")
    return Entry(
        path=path,
        task_name=fields["task"],
        language=fields["language"],
        expected=frozenset(map(Status, fields["expect"].split("|"))),
        rule=fields.get("rule"),
        pointless="pointless" in flags,
    )


@lru_cache(maxsize=64)
def _task(name: str, rule: str | None) -> Task:
    source = (FOLDER / "tasks" / f"{name}.py").read_text(encoding="utf-8")
    plain = {"name": f"corpus/{name}", "source": source}
    if rule is not None and "allow_aten" in Task.model_fields:
        plain["allow_aten"] = rule
    return Task.model_validate(plain)
