"""`kernelevolve evaluate`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernelevolve.commands.arguments import parser
from kernelevolve.core.errors import UserError

if TYPE_CHECKING:
    from kernelevolve.core.evaluation import Evaluation
    from kernelevolve.core.kernel import Kernel

_PRESETS = {"strict": "default", "kernelbench": "kernelbench"}
"""Name of a preset -> option of the configuration group `evaluation`."""
_SCORES = (0.0, 1.0, 2.0)
"""The thresholds p of the `fast_p` scores."""


def main(arguments: Sequence[str]) -> int:
    """Evaluate kernel files one after the other. The exit code is 0 whatever the verdicts are."""
    line = parser("evaluate", "Evaluate kernel files: is each correct, and how much faster than PyTorch?")
    line.add_argument("task", help="name of a shipped task, or a file")
    line.add_argument(
        "words",
        nargs="+",
        metavar="kernel",
        help="a file that defines ModelNew, or a folder: its *.py files; also key=value, a setting such as evaluation.trials=5",
    )
    line.add_argument("--preset", choices=tuple(_PRESETS), help="the rules of the evaluation (default: strict)")
    line.add_argument("--json", action="store_true", help="one JSON object, for several kernels a list of them")
    options = line.read(arguments)
    paths, overrides = _split_words(options.words, options.preset)

    from kernelevolve import config
    from kernelevolve.tasks.catalog import find_task

    # The command measures now by default; the cache is used only if the user asks for it.
    settings = config.load(["evaluation.cache=off", *overrides], task=options.task)
    task = find_task(options.task)
    kernels = [_kernel(path) for path in paths]

    from evaluators.service.local import evaluate_locally

    placed = settings.device.build("device").placed()
    if placed.note:
        _say(placed.note)
    evaluations = evaluate_locally(task, kernels, placed.device, settings.evaluation, _say)
    results = zip(paths, evaluations, strict=True)
    if options.json:
        _print_json(((path, evaluation) for path, evaluation in results), task.name, several=len(paths) > 1)
    else:
        _print_text(results, several=len(paths) > 1)
    return 0


def _say(note: str) -> None:
    print(f"kernelevolve: {note}", file=sys.stderr, flush=True)


def _split_words(words: Sequence[str], preset: str | None) -> tuple[list[Path], list[str]]:
    """Split the words into kernel files and settings.

    Raises UserError if there is no kernel or the rules are ambiguous.
    """
    overrides = [word for word in words if ("=" in word or word.startswith("~")) and not Path(word).exists()]
    paths = [path for word in words if word not in overrides for path in _files(Path(word))]
    if not paths:
        raise UserError("which kernel? Name a file that defines ModelNew, or a folder of them")
    if preset is not None:
        if any(override.startswith("evaluation=") for override in overrides):
            raise UserError("--preset chooses evaluation=...: give one of them")
        overrides.insert(0, f"evaluation={_PRESETS[preset]}")
    return paths, overrides


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    try:
        found = sorted(path.glob("*.py"))
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from error
    if not found:
        raise UserError(f"{path} holds no *.py file: name one that does, or a file that defines ModelNew")
    return found


def _kernel(path: Path) -> Kernel:
    """Read a kernel from any file; the evaluation rejects what is no source. Raises UserError if it cannot be read."""
    from devices.languages import language_of
    from kernelevolve.core.kernel import Kernel

    try:
        source = path.read_bytes().decode(errors="replace")
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): name a file that defines ModelNew") from error
    return Kernel(source=source, language=language_of(source))


def _print_json(results: Iterator[tuple[Path, Evaluation]], task: str, *, several: bool) -> None:
    opened = False
    for path, evaluation in results:
        if several:
            print(",\n" if opened else "[\n", end="")
        opened = True
        print(json.dumps(_to_json(evaluation, task, path), indent=2), end="" if several else "\n", flush=True)
    if several:
        print("\n]")


def _to_json(evaluation: Evaluation, task: str, path: Path) -> dict[str, Any]:
    from kernelevolve.report.figures import speedup_json, variant_json

    not_measured = evaluation.measurement.not_measured if evaluation.measurement else ""
    return {
        "task": task,
        "kernel": str(path),
        "kernel_id": evaluation.kernel_id,
        "device": evaluation.device,
        "protocol": evaluation.environment["protocol"],
        "status": str(evaluation.status),
        "cached": evaluation.cached,
        **speedup_json(evaluation.speedup, not_measured),
        "variants": {name: variant_json(timed) for name, timed in evaluation.variants.items()},
        "aten_share": evaluation.aten.share if evaluation.aten else None,
        "aten_operators": dict(evaluation.aten.operators) if evaluation.aten else {},
        "fallback": evaluation.fallback.model_dump() if evaluation.fallback else None,
        "checks": [check.model_dump() for check in evaluation.checks],
        "warnings": list(evaluation.warnings),
        "diagnosis": evaluation.diagnosis.model_dump() if evaluation.diagnosis else None,
        "seconds": dict(evaluation.seconds),
        "machine": evaluation.machine.model_dump() if evaluation.machine else None,
        "environment": dict(evaluation.environment),
    }


def _print_text(results: Iterator[tuple[Path, Evaluation]], *, several: bool) -> None:
    from evaluators.protocols.kernelbench_rules import RULES, fast_p
    from evaluators.settings import Protocol

    evaluations: list[Evaluation] = []
    for path, evaluation in results:
        loose = evaluation.environment["protocol"] == Protocol.KERNELBENCH
        if loose and not evaluations:
            print(f"evaluated by KernelBench's rules: {RULES}")
        evaluations.append(evaluation)
        if several:
            print(f"{path}: ", end="")
        for text in _lines(evaluation):
            print(text)
        print(end="", flush=True)
    if several and loose:
        scores = ", ".join(f"fast_{p:g} {fast_p(evaluations, p):.2f}" for p in _SCORES)
        print(f"{scores} of {len(evaluations)} kernels")


def _lines(evaluation: Evaluation) -> Iterator[str]:
    from evaluators.correctness.ledger import in_words
    from kernelevolve.report.figures import fallback_text, machine_text, variants_text, verdict_text

    if evaluation.cached:
        yield "evaluated before, under the same conditions:"
    if evaluation.measurement:
        again = "" if evaluation.speedup else "; the same command measures again"
        yield f"{evaluation.status}: {verdict_text(evaluation.measurement)}{again}"
        if evaluation.variants:
            yield f"variants: {variants_text(evaluation.variants)}"
        if evaluation.aten and evaluation.aten.share > 0:
            operators = ", ".join(f"{name} {share:.0%}" for name, share in evaluation.aten.operators.items())
            yield f"PyTorch's own operators take {evaluation.aten.share:.0%} of a call: {operators}"
        if evaluation.fallback and evaluation.fallback.calls > 0:
            yield fallback_text(evaluation.fallback)
    elif evaluation.diagnosis:
        yield f"{evaluation.status} ({evaluation.diagnosis.stage}): {evaluation.diagnosis.summary}"
        if evaluation.diagnosis.details:
            yield evaluation.diagnosis.details
    yield from (f"warning: {why}" for why in evaluation.warnings)
    if evaluation.checks:
        yield f"checked: {in_words(evaluation.checks)}"
    if "excessive_speedup" in evaluation.environment:
        yield f"KernelBench flags speedups {evaluation.environment['excessive_speedup']} as excessive"
    if evaluation.machine and evaluation.machine.disturbed:
        yield machine_text(evaluation.machine, evaluation.measurement)
