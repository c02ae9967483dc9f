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
"""Name -> option of the group `evaluation`."""
_SCORES = (0.0, 1.0, 2.0)
"""Of `fast_p`."""


def main(arguments: Sequence[str]) -> int:
    """Judge kernel files, one after the other. The verdicts are the output; the exit code is 0 whatever they are."""
    line = parser("evaluate", "Judge kernel files: is each correct, and how much faster than PyTorch?")
    line.add_argument("task", help="name of a shipped task, or a file")
    line.add_argument(
        "words",
        nargs="+",
        metavar="kernel",
        help="a file that defines ModelNew, or a folder: its *.py files; also key=value, a setting such as evaluation.trials=5",
    )
    line.add_argument("--preset", choices=tuple(_PRESETS), help="by whose rules; strict where nothing is said")
    line.add_argument("--json", action="store_true", help="one JSON object, for several kernels a list of them")
    options = line.read(arguments)
    paths, overrides = _sorted_out(options.words, options.preset)

    from kernelevolve import config
    from kernelevolve.tasks.catalog import find_task

    # Who asks wants a measurement of now, and says so where not.
    settings = config.load(["evaluation.cache=off", *overrides], task=options.task)
    task = find_task(options.task)
    kernels = [_kernel(path) for path in paths]

    from evaluators.service.local import evaluate_locally

    verdicts = evaluate_locally(task, kernels, settings.device.build("device"), settings.evaluation, _say)
    judged = zip(paths, verdicts, strict=True)
    if options.json:
        _print_json(((path, verdict) for path, verdict in judged), task.name, several=len(paths) > 1)
    else:
        _print_text(judged, several=len(paths) > 1)
    return 0


def _say(note: str) -> None:
    print(f"kernelevolve: {note}", file=sys.stderr, flush=True)


def _sorted_out(words: Sequence[str], preset: str | None) -> tuple[list[Path], list[str]]:
    """(kernel files, settings). Raises UserError where there is no kernel, or two choices of rules."""
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
    """The file whatever it holds: what is no source gets a verdict. Raises UserError where it cannot be read."""
    from devices.languages import language_of
    from kernelevolve.core.kernel import Kernel

    try:
        source = path.read_bytes().decode(errors="replace")
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): name a file that defines ModelNew") from error
    return Kernel(source=source, language=language_of(source))


def _print_json(judged: Iterator[tuple[Path, Evaluation]], task: str, *, several: bool) -> None:
    opened = False
    for path, verdict in judged:
        if several:
            print(",\n" if opened else "[\n", end="")
        opened = True
        print(json.dumps(_told(verdict, task, path), indent=2), end="" if several else "\n", flush=True)
    if several:
        print("\n]")


def _told(verdict: Evaluation, task: str, path: Path) -> dict[str, Any]:
    from kernelevolve.report.figures import speedup_json, variant_json

    not_measured = verdict.measurement.not_measured if verdict.measurement else ""
    return {
        "task": task,
        "kernel": str(path),
        "kernel_id": verdict.kernel_id,
        "device": verdict.device,
        "protocol": verdict.environment["protocol"],
        "status": str(verdict.status),
        "cached": verdict.cached,
        **speedup_json(verdict.speedup, not_measured),
        "variants": {name: variant_json(timed) for name, timed in verdict.variants.items()},
        "aten_share": verdict.aten.share if verdict.aten else None,
        "aten_operators": dict(verdict.aten.operators) if verdict.aten else {},
        "fallback": verdict.fallback.model_dump() if verdict.fallback else None,
        "checks": [check.model_dump() for check in verdict.checks],
        "warnings": list(verdict.warnings),
        "diagnosis": verdict.diagnosis.model_dump() if verdict.diagnosis else None,
        "seconds": dict(verdict.seconds),
        "machine": verdict.machine.model_dump() if verdict.machine else None,
        "environment": dict(verdict.environment),
    }


def _print_text(judged: Iterator[tuple[Path, Evaluation]], *, several: bool) -> None:
    from evaluators.protocols.kernelbench_rules import RULES, fast_p
    from evaluators.settings import Protocol

    verdicts: list[Evaluation] = []
    for path, verdict in judged:
        loose = verdict.environment["protocol"] == Protocol.KERNELBENCH
        if loose and not verdicts:
            print(f"judged by KernelBench's rules: {RULES}")
        verdicts.append(verdict)
        if several:
            print(f"{path}: ", end="")
        for text in _lines(verdict):
            print(text)
        print(end="", flush=True)
    if several and loose:
        scores = ", ".join(f"fast_{p:g} {fast_p(verdicts, p):.2f}" for p in _SCORES)
        print(f"{scores} of {len(verdicts)} kernels")


def _lines(verdict: Evaluation) -> Iterator[str]:
    from evaluators.correctness.ledger import in_words
    from kernelevolve.report.figures import fallback_text, machine_text, variants_text, verdict_text

    if verdict.cached:
        yield "judged before, under the same conditions:"
    if verdict.measurement:
        again = "" if verdict.speedup else "; the same command measures again"
        yield f"{verdict.status}: {verdict_text(verdict.measurement)}{again}"
        if verdict.variants:
            yield f"variants: {variants_text(verdict.variants)}"
        if verdict.aten and verdict.aten.share > 0:
            operators = ", ".join(f"{name} {share:.0%}" for name, share in verdict.aten.operators.items())
            yield f"PyTorch's own operators take {verdict.aten.share:.0%} of a call: {operators}"
        if verdict.fallback and verdict.fallback.calls > 0:
            yield fallback_text(verdict.fallback)
    elif verdict.diagnosis:
        yield f"{verdict.status} ({verdict.diagnosis.stage}): {verdict.diagnosis.summary}"
        if verdict.diagnosis.details:
            yield verdict.diagnosis.details
    yield from (f"beware: {why}" for why in verdict.warnings)
    if verdict.checks:
        yield f"checked: {in_words(verdict.checks)}"
    if "excessive_speedup" in verdict.environment:
        yield f"KernelBench flags speedups {verdict.environment['excessive_speedup']} as excessive"
    if verdict.machine and verdict.machine.disturbed:
        yield machine_text(verdict.machine, verdict.measurement)
