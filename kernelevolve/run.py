"""Running a search from its settings to its results. This module only connects the parts."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import ray
import yaml
from ray.exceptions import RayActorError, RayError
from rich.console import Console

from devices.base import Device
from evaluators.runtime.device_lock import DeviceLock
from evaluators.sandbox import landlock
from evaluators.service.comparison import Comparison
from evaluators.service.recording import VERDICTS
from evaluators.service.service import EvaluationService
from evaluators.service.worker import WorkerFacts
from evaluators.settings import EvaluationSettings
from islands.archipelago import Archipelago, Progress
from islands.island import SearchPlan
from kernelevolve import __version__, config
from kernelevolve.cluster import ray_session
from kernelevolve.config import RunConfig
from kernelevolve.core.component import Component
from kernelevolve.core.errors import UserError
from kernelevolve.core.graph import Node
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.target import Ceilings
from kernelevolve.core.task import Task
from kernelevolve.core.usage import Usage
from kernelevolve.interrupts import Interrupts
from kernelevolve.llm.client import ModelClient
from kernelevolve.llm.recording import FILE, Recording, Share
from kernelevolve.llm.replay import replayed_folder
from kernelevolve.remote import ask, death_message, machines
from kernelevolve.report.best import write_best
from kernelevolve.report.figures import plan_text
from kernelevolve.report.files import write_json
from kernelevolve.report.folder import RunFolder, check_possible, default_folder
from kernelevolve.report.live import LiveView
from kernelevolve.report.summary import Summary, count_by_status, table
from kernelevolve.report.winner import winner
from kernelevolve.synthesis.base import Operator
from kernelevolve.synthesis.preparing import Preparing
from kernelevolve.tasks.catalog import find_task

INTERRUPTED = 130
_GLANCE_SECONDS = 0.5
"""The seconds between two checks for an interrupt while waiting for Ray."""
_CEILING_SECONDS = 30.0
"""The seconds that the end of a run waits for the ceilings of its device. They are measured while the search begins."""
_TOLD_FAILURES = 5
"""The number of reasons for failures that a summary lists."""
_PACKAGES = ("torch", "ray", "numpy")


def start(settings: RunConfig, *, quiet: bool = False) -> int:
    """Start a new run.

    Args:
        settings: The settings of the run.
        quiet: Print only the result.

    Returns:
        The exit code.

    Raises:
        UserError: The run is impossible. Nothing has been written then.
    """
    task = find_task(settings.task)
    folder = RunFolder(Path(settings.run.dir) if settings.run.dir else default_folder(task.name))
    folder.check_free()
    if settings.run.store:
        check_possible("run.store", Path(settings.run.store))
    return _Run(settings, task, folder, quiet).execute(new=True)


def start_many(jobs: Sequence[RunConfig], *, quiet: bool = False) -> int:
    """Run several settings one after the other, each in a folder of its own.

    They share one Ray if they ask for the same cluster. An interrupt ends all runs.

    Returns:
        The first exit code that is not 0, else 0.
    """
    for job in jobs:
        find_task(job.task)  # A mistake is reported before anything starts.
    with ExitStack() as stack:
        if len(jobs) > 1 and all(job.cluster == jobs[0].cluster for job in jobs):
            stack.enter_context(ray_session(jobs[0].cluster))
        first = 0
        for number, job in enumerate(jobs):
            named = job
            if job.run.dir is not None and len(jobs) > 1:
                named = job.model_copy(update={"run": job.run.model_copy(update={"dir": f"{job.run.dir}/{number}"})})
            code = start(named, quiet=quiet)
            if code == INTERRUPTED:
                return code
            first = first or code
    return first


def resume(path: Path, overrides: Sequence[str], *, quiet: bool = False) -> int:
    """Continue the run of a folder.

    Args:
        path: The folder of the run.
        overrides: New limits: `budget.key=value`.
        quiet: Print only the result.

    Returns:
        The exit code.

    Raises:
        UserError: The folder holds no run, or an override is not a limit.
    """
    folder = RunFolder(path)
    plain, task = folder.load()
    budget = dict(plain.get("budget", {}))
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals or not key.startswith("budget.") or key.removeprefix("budget.") not in budget:
            known = ", ".join(f"budget.{name}" for name in budget)
            raise UserError(f"{override}: only a limit can be changed when a run is resumed: {known}")
        budget[key.removeprefix("budget.")] = yaml.safe_load(value)
    return _Run(config.check({**plain, "budget": budget}), task, folder, quiet).execute(new=False)


def _held_up(lock: DeviceLock) -> str:
    """Return why nothing is measured if a stopped process holds the device lock."""
    pid = lock.stopped_holder()
    return f"process {pid} measures and is stopped: continue it (kill -CONT {pid}) or end it" if pid else ""


@dataclass
class _Run:
    """One session of a run."""

    settings: RunConfig
    task: Task
    folder: RunFolder
    quiet: bool
    seconds: dict[str, float] = field(default_factory=dict)
    """Phase -> the seconds that it took."""
    failures: tuple[tuple[int, str], ...] = ()
    """The most frequent reasons why kernels of the search failed, with the number of kernels."""
    in_flight: tuple[str, ...] = ()
    """The work in progress at the end of a search that evaluated nothing."""
    evaluation: EvaluationSettings = field(init=False)
    """The settings of the evaluation, adapted to this machine."""
    _interrupts: Interrupts = field(default_factory=Interrupts, init=False)

    def __post_init__(self) -> None:
        self.evaluation = self.settings.evaluation

    def execute(self, *, new: bool) -> int:
        """Run the session, print its result and return the exit code.

        An interrupt (Ctrl-C, SIGTERM) writes what is known and reports how to resume.
        """
        device = self.settings.device.build("device")
        operator = self.settings.operator.build("operator")
        # Islands build their own strategies. Building them here finds an illegal value before anything is written.
        for strategy in self.settings.island_strategies():
            strategy.build("search", seed=0)
        console = Console()
        if self.evaluation.sandbox and operator.trusted and not landlock.version():
            self.evaluation = self.evaluation.model_copy(update={"sandbox": False})
            if not self.quiet:
                console.print(
                    "this Linux has no Landlock: the built-in operator's kernels run without it", soft_wrap=True
                )
        try:
            summary = self._session(console, device, operator, new=new)
        except RayActorError as error:
            raise UserError(death_message("a process of this run", "during the run", error)) from error
        except KeyboardInterrupt:
            if not self.folder.config_file.exists():
                raise
            summary = None
        if summary is None or summary.state == "interrupted":
            console.print(f"interrupted; `kernelevolve resume {self.folder.path}` continues the run", soft_wrap=True)
            return INTERRUPTED
        console.print(table(summary, self.folder.path))
        return summary.outcome.exit_code

    def _session(self, console: Console, device: Device, operator: Operator, *, new: bool) -> Summary:
        begin = time.monotonic()
        with (
            self._interrupts.listen(),
            LiveView(console, self.task.name, self.settings.budget, self.quiet) as view,
            Preparing(operator, self.task) as preparing,
            ray_session(self.settings.cluster, device.offered()),
            self._interrupts.listen(),  # Again: Ray has set a handler of its own.
        ):
            view.stage("starting")
            preparing.raise_early()
            device = self._placed(console, device)
            models = self._models()
            if models is not None:
                view.stage(f"starting {', '.join(models.weights)}")
                models.check(self._interrupts.check)
            service = self._service(device)
            with closing(service):
                warm = service.warm()
                operator = preparing.result(self._interrupts.check)
                slow = str(ask(warm))
                facts: WorkerFacts = ask(service.facts())
                operator = operator.for_target(facts.target)
                ceilings = service.ceilings()
                if slow and not self.quiet:
                    console.print(slow, soft_wrap=True)
                if new:
                    store = self.settings.run.store
                    self.folder.create(config.dump(self.settings), self.task, Path(store) if store else None)
                if models is not None:
                    models.open()
                self.seconds["start"] = time.monotonic() - begin
                interrupted, progress, finalists = self._search(view, facts, operator, service, models)
                preparing.end()
                if models is not None:
                    models.close()
                comparison: Comparison | str = "the run was interrupted"
                if not interrupted:
                    try:
                        comparison = self._compare(view, service, finalists)
                    except KeyboardInterrupt:
                        interrupted = True
                reached = _ready(ceilings, 0.0 if interrupted else _CEILING_SECONDS)
            return self._write(
                facts, reached, progress, finalists, comparison, "interrupted" if interrupted else "done"
            )

    def _placed(self, console: Console, device: Device) -> Device:
        """Return the device for the machines of the cluster. What was chosen is said, and becomes the run's setting."""
        placed = device.placed(machines(), self.evaluation.workers)
        if placed.note and not self.quiet:
            console.print(placed.note, soft_wrap=True)
        if placed.device is not device:
            kind = type(placed.device)
            named = {"_target_": f"{kind.__module__}.{kind.__qualname__}", **placed.device.settings()}
            self.settings = self.settings.model_copy(update={"device": Component.model_validate(named)})
        return placed.device

    def _service(self, device: Device) -> EvaluationService:
        """Start the evaluation service. With models, evaluations are recorded as well: a replay needs both."""
        llm = self.settings.llm
        if llm is None:
            return EvaluationService.start(self.task, device, self.evaluation)
        replayed = replayed_folder(llm)
        return EvaluationService.start(
            self.task,
            device,
            self.evaluation,
            recording=self.folder.path / VERDICTS,
            replayed=None if replayed is None else replayed / VERDICTS,
        )

    def _models(self) -> ModelClient | None:
        """Return the client of the run's models, or None. Its actor runs on this machine, where the run's folder is."""
        if self.settings.llm is None:
            return None
        node = ray.get_runtime_context().get_node_id()
        path = self.folder.path.absolute()
        return ModelClient(self.settings.llm, path, self.settings.budget, node)

    def _shares(self) -> list[Share]:
        """Return the usage by model and island over all sessions, including that of drafts that never became nodes."""
        file = self.folder.path / FILE
        if not file.is_file():
            return []
        with closing(Recording(file, write=False)) as recording:
            return recording.shares()

    def _search(
        self,
        view: LiveView,
        facts: WorkerFacts,
        operator: Operator,
        service: EvaluationService,
        models: ModelClient | None,
    ) -> tuple[bool, Progress, list[tuple[Node, Kernel]]]:
        """Search until the budget is reached or an interrupt arrives.

        Returns:
            Whether the search was interrupted, its last progress, and the fittest kernels, best first.
        """
        plan = SearchPlan(
            run=self.folder.name,
            task=self.task,
            target=facts.target,
            operator=operator,
            evaluator=service,
            settings=self.settings.islands,
            seed=self.settings.seed,
            models=models,
        )
        strategies = [{"_target_": s.target, **s.arguments} for s in self.settings.island_strategies()]
        interrupted = False
        lock = DeviceLock(device=facts.lock)
        path, graph = self.folder.graph()
        with Archipelago(
            folder=path, graph=graph, budget=self.settings.budget, plan=plan, strategies=strategies
        ) as archipelago:
            try:
                for progress in archipelago.watch():
                    self._interrupts.check()
                    if progress.best is not None:
                        # Improvements are empty while all speedups are estimates.
                        steps = [step.seconds for step in progress.improvements]
                        self.seconds.setdefault("first_correct", min([progress.best.seconds, *steps]))
                    view.update(progress, _held_up(lock) if progress.evaluations_per_second == 0.0 else "")
            except KeyboardInterrupt:
                interrupted = True
            # Includes what islands wrote since the last progress.
            progress = archipelago.progress()
            self.failures = tuple(archipelago.diagnoses()[:_TOLD_FAILURES])
            self.in_flight = archipelago.doing
            finalists = archipelago.best(self.settings.final.candidates)
        return interrupted, progress, finalists

    def _compare(
        self, view: LiveView, service: EvaluationService, finalists: list[tuple[Node, Kernel]]
    ) -> Comparison | str:
        """Measure the finalists, and return the comparison or the reason why there is none."""
        if not finalists:
            return "no kernel was proven correct"
        view.stage(plan_text(self.evaluation.final, len(finalists), with_compile=self.settings.final.compile))
        begin = time.monotonic()
        compared: Comparison | str
        try:
            kernels = [kernel for _, kernel in finalists]
            reference = service.compare(kernels, with_compile=self.settings.final.compile)
            while not ray.wait([reference], timeout=_GLANCE_SECONDS)[0]:
                self._interrupts.check()
            compared = ask(reference)
        except (UserError, RayError) as error:
            compared = str(error).strip().splitlines()[-1]
        self.seconds["final"] = time.monotonic() - begin
        return compared

    def _write(
        self,
        facts: WorkerFacts,
        ceilings: Ceilings | None,
        progress: Progress,
        finalists: list[tuple[Node, Kernel]],
        comparison: Comparison | str,
        state: str,
    ) -> Summary:
        best = winner(finalists, comparison)
        shares = self._shares()
        summary = Summary(
            run=self.folder.name,
            task=self.task.name,
            device=facts.target.device,
            seed=self.settings.seed,
            state=state,
            stop=progress.reason or "interrupted",
            best=best,
            final_note=comparison if isinstance(comparison, str) else "",
            dropped={} if isinstance(comparison, str) else comparison.failures,
            failures=self.failures,
            in_flight=self.in_flight,
            evaluations=count_by_status({f"status.{s}": n for s, n in progress.statuses.items()}),
            nodes=progress.nodes,
            usage=sum((share.usage for share in shares), Usage()),
            usage_by_model=_summed((share.model, share.usage) for share in shares),
            usage_by_island=_summed((share.island, share.usage) for share in shares if share.island),
            seconds={**self.seconds, "search": progress.spent.seconds},
            versions=_versions(facts.toolchains),
            hardware=dict(facts.target.facts),
            peaks=facts.target.peaks,
            ceilings=ceilings,
        )
        if best is not None:
            kernel = next(k for _, k in finalists if k.id == best.kernel_id)
            write_best(self.folder.best, self.task, kernel, best)
        write_json(self.folder.summary_file, summary.to_json())
        return summary


def _ready(ceilings: Any, seconds: float) -> Ceilings | None:
    """Return the ceilings behind a Ray reference, or None if they are not measured within `seconds`."""
    done, _ = ray.wait([ceilings], timeout=seconds)
    found: Ceilings | None = ask(done[0]) if done else None
    return found


def _summed(parts: Iterable[tuple[str, Usage]]) -> dict[str, Usage]:
    found: dict[str, Usage] = {}
    for name, usage in parts:
        found[name] = found.get(name, Usage()) + usage
    return found


def _versions(toolchains: Mapping[str, str]) -> Mapping[str, str]:
    found = {"kernelevolve": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found | {f"toolchain.{language}": version for language, version in toolchains.items()}
