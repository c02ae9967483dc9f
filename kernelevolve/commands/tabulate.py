"""`kernelevolve tabulate`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kernelevolve.commands.arguments import parser
from kernelevolve.core.errors import UserError

if TYPE_CHECKING:
    from kernelevolve.config import RunConfig
    from kernelevolve.core.kernel import KnobValue
    from kernelevolve.core.task import Task
    from kernelevolve.experiments.tabular.space import Write
    from kernelevolve.synthesis.builtin.base import Written

NOTE = (
    "Without knobs the command lists them. An interrupted measurement is continued. "
    "`kernelevolve replay TABLE` runs searches on the table."
)
_SETTINGS = ("evaluation", "device", "seed", "operator")
_NEWS = 20
"""The number of progress lines."""


def main(arguments: Sequence[str]) -> int:
    """Evaluate every kernel of a space of knobs, and write a table."""
    line = parser("tabulate", "Measure a whole space of the built-in operator's kernels once.", NOTE)
    line.add_argument("task", help="name of a shipped task, or a file")
    line.add_argument(
        "words",
        nargs="*",
        metavar="KNOB=VALUE,...",
        help="the values of a knob, or all; other knobs keep their default. Also settings, such as evaluation.trials=5",
    )
    line.add_argument("--out", type=Path, metavar="FILE", help="the table to write (default: TASK.npz)")
    options = line.read(arguments)
    wanted, overrides = _split_words(options.words)

    from kernelevolve import config
    from kernelevolve.tasks.catalog import find_task

    settings = config.load(["evaluation.cache=off", *overrides], task=options.task)
    task = find_task(options.task)
    write = _writer(task, settings)
    if not wanted:
        return _list_knobs(write)
    out = options.out or Path(f"{task.name.rpartition('/')[2]}.npz")
    if out.suffix != ".npz":
        line.error(f"--out {out}: tables end in .npz")
    if not out.parent.is_dir():
        raise UserError(f"{out.parent}: there is no such folder; create it, or choose another --out")
    if out.exists():
        raise UserError(f"{out} exists: remove it, or choose another --out")
    return _tabulate(task, settings, wanted, write, out)


def _split_words(words: Sequence[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Split the words into the values by knob and the settings."""
    wanted: dict[str, list[str]] = {}
    overrides = []
    for word in words:
        name, equals, values = word.partition("=")
        if not equals or not values:
            raise UserError(f"{word!r}: write KNOB=VALUE,VALUE or KNOB=all")
        if name.split(".")[0] in _SETTINGS:
            overrides.append(word)
        elif name in wanted:
            raise UserError(f"{name} is named twice")
        else:
            wanted[name] = values.split(",")
    return wanted, overrides


def _writer(task: Task, settings: RunConfig) -> Write:
    from kernelevolve.synthesis.builtin.chain import Stage
    from kernelevolve.synthesis.builtin.operator import BuiltinOperator

    operator = settings.operator.build("operator")
    if not isinstance(operator, BuiltinOperator):
        raise UserError(f"operator={settings.operator.target}: only the built-in operator has a space of knobs")
    prepared = operator.prepare(task).for_target(settings.device.build("device").placed().device.target())
    program = prepared.program
    if program is None:
        why = prepared.chain.absent[Stage.TRACED]
        raise UserError(f"{task.name} cannot be traced ({why}): it has no space of knobs")

    def write(point: Mapping[str, KnobValue]) -> Written:
        return prepared.writer.write(program, task, tuple(sorted(point.items())))

    return write


def _list_knobs(write: Write) -> int:
    from kernelevolve.experiments.tabular.space import knobs_of

    for name, knob in sorted(knobs_of(write).items()):
        values = ",".join(str(v).lower() if isinstance(v, bool) else str(v) for v in knob.domain)
        print(f"{name}={values}")
    return 0


def _tabulate(task: Task, settings: RunConfig, wanted: Mapping[str, Sequence[str]], write: Write, out: Path) -> int:
    from kernelevolve import __version__
    from kernelevolve.experiments.tabular.measuring import Journal, measure, table_of
    from kernelevolve.experiments.tabular.space import kernels_of, part_of

    device = settings.device.build("device").placed().device
    target = device.target()
    part = part_of(wanted, write)
    kernels = kernels_of(part, write)
    distinct = [written.kernel for written in kernels.written]
    _say(f"{kernels.row_of.size} points, {len(distinct)} kernels")
    with Journal(out.with_suffix(".journal"), task, settings.evaluation) as journal:
        measure(task, device, settings.evaluation, distinct, journal, _progress(len(distinct)))
        about = {
            "hardware": dict(target.facts),
            "kernelevolve": __version__,
            "toolchains": {name: chain.fingerprint(target) for name, chain in device.toolchains().items()},
            "timing": settings.evaluation.timing.model_dump(mode="json"),
        }
        table = table_of(task, target.device, about, part, kernels, journal)
        table.save(out)
        journal.remove()
    correct = int((table.speedup > 0).sum())
    print(f"{out}: {len(table)} kernels, {correct} correct, the best {table.best:.2f}x", flush=True)
    return 0


def _progress(total: int) -> Callable[[int], None]:
    """Return a function that reports the number of evaluated kernels about `_NEWS` times."""
    step = max(1, total // _NEWS)
    return lambda done: _say(f"{done} of {total} kernels evaluated") if done % step == 0 or done == total else None


def _say(text: str) -> None:
    print(f"kernelevolve: {text}", file=sys.stderr, flush=True)
