"""The progress of a running search: a live panel on a terminal, occasional lines anywhere else."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from islands.archipelago import Progress
from kernelevolve.core.budget import Budget
from kernelevolve.core.evaluation import Status
from kernelevolve.report.figures import live_text

LINE_SECONDS = 10.0
"""The seconds between two lines."""
IMPROVEMENTS = 5
"""The number of improvements that the panel shows."""


class LiveView:
    """A context manager around a run that shows its progress. With `quiet` it shows nothing."""

    def __init__(self, console: Console, title: str, budget: Budget, quiet: bool = False) -> None:
        self.console = console
        self._title = title
        self._budget = budget
        self._quiet = quiet
        self._live: Live | None = None
        self._last_line = 0.0
        self._last_best = 0.0

    def __enter__(self) -> Self:
        if not self._quiet and self.console.is_terminal:
            self._live = Live(console=self.console, refresh_per_second=8, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def stage(self, text: str) -> None:
        """Show what is being done outside of the search."""
        if self._live is not None:
            self._live.update(Text(f"{self._title}: {text} ...", style="dim"))
        elif not self._quiet:
            self.console.print(f"{self._title}: {text}", soft_wrap=True, highlight=False)

    def update(self, progress: Progress, warning: str = "") -> None:
        """Show the progress of the search, and a warning if there is one."""
        if self._live is not None:
            self._live.update(panel(self._title, self._budget, progress, warning))
        elif not self._quiet and self._is_due(progress):
            text = f"{line(self._budget, progress)} | {warning}" if warning else line(self._budget, progress)
            self.console.print(text, soft_wrap=True, highlight=False, markup=False)

    def _is_due(self, progress: Progress) -> bool:
        now = time.monotonic()
        first = self._last_best == 0 and progress.spent.best_fitness > 0
        if not first and now - self._last_line < LINE_SECONDS:
            return False
        self._last_line, self._last_best = now, progress.spent.best_fitness
        return True


def counts(progress: Progress) -> tuple[int, int, int]:
    """Return the numbers of distinct kernels that are good, buggy and cheating."""
    good = progress.statuses.get(Status.OK, 0)
    cheating = progress.statuses.get(Status.CHEATING, 0)
    return good, sum(progress.statuses.values()) - good - cheating, cheating


def line(budget: Budget, progress: Progress) -> str:
    """Format the progress as one line for a log."""
    good, buggy, cheating = counts(progress)
    best = f"best {_best(progress)}" if progress.best else "nothing correct yet"
    return (
        f"[{progress.spent.seconds:5.0f} s] {best} | {good} good, {buggy} buggy, {cheating} cheating | "
        f"{progress.evaluations_per_second:.1f} evaluations/s | {left(budget, progress)} left"
    )


def panel(title: str, budget: Budget, progress: Progress, warning: str = "") -> RenderableType:
    """Render the live panel."""
    good, buggy, cheating = counts(progress)
    head = Table.grid(padding=(0, 3))
    head.add_row(
        Text.assemble("best ", (_best(progress) if progress.best else "nothing correct yet", "bold green")),
        Text.assemble(
            (str(good), "green"), " good  ", (str(buggy), "yellow"), " buggy  ", (str(cheating), "red"), " cheating"
        ),
        f"{progress.evaluations_per_second:.1f} evaluations/s",
    )
    islands = Table(box=None, padding=(0, 2), header_style="dim")
    for name in ("island", "nodes", "repeated", "good", "best"):
        islands.add_column(name, justify="right")
    for tally in progress.islands:
        islands.add_row(
            str(tally.island),
            str(tally.nodes),
            str(tally.cached),
            str(tally.statuses.get(Status.OK, 0)),
            f"{tally.best_fitness:.2f}x" if tally.best_fitness else "-",
        )
    steps = Table(box=None, padding=(0, 2), header_style="dim")
    for name in ("at", "speedup", "island", "what was changed"):
        steps.add_column(name, justify="left" if name.startswith("what") else "right", no_wrap=True)
    for step in progress.improvements[-IMPROVEMENTS:]:
        steps.add_row(f"{step.seconds:.1f} s", f"{step.fitness:.2f}x", str(step.island), step.note or step.operator)
    bar = Table.grid(padding=(0, 2))
    bar.add_row(
        ProgressBar(total=1.0, completed=progress.fraction, width=40),
        Text(f"{left(budget, progress)} left", style="dim"),
    )
    parts: list[RenderableType] = [head, Text(), islands, Text()]
    if progress.improvements:
        parts += [steps, Text()]
    if warning:
        parts += [Text(warning, style="bold yellow"), Text()]
    return Panel(Group(*parts, bar), title=title, title_align="left", border_style="cyan", width=100)


def left(budget: Budget, progress: Progress) -> str:
    """Describe what is left of the budget."""
    parts = []
    if budget.seconds is not None:
        parts.append(f"{max(0.0, budget.seconds - progress.spent.seconds):.0f} s")
    if budget.evaluations is not None:
        parts.append(f"{max(0, budget.evaluations - progress.spent.evaluations)} evaluations")
    if budget.tokens is not None:
        parts.append(f"{max(0, budget.tokens - progress.spent.usage.tokens)} tokens")
    if budget.cost is not None:
        parts.append(f"${max(0.0, budget.cost - progress.spent.usage.cost):.2f}")
    return ", ".join(parts) or "no limit"


def _best(progress: Progress) -> str:
    return live_text(progress.best.evaluation) if progress.best else "-"
