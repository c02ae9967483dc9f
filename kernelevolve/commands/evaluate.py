"""`kernelevolve evaluate`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from kernelevolve.commands.arguments import parser
from kernelevolve.core.errors import UserError


def main(arguments: Sequence[str]) -> int:
    """Judge one kernel file. The verdict is the output; the exit code is 0 whatever it is."""
    line = parser("evaluate", "Judge one kernel file: is it correct, and how much faster than PyTorch?")
    line.add_argument("task", help="name of a shipped task, or a file")
    line.add_argument("kernel", type=Path, help="a file that defines ModelNew")
    line.add_argument("overrides", nargs="*", metavar="key=value", help="a setting, such as evaluation.trials=5")
    line.add_argument("--json", action="store_true", help="one JSON object")
    options = line.read(arguments)

    from kernelevolve import config
    from kernelevolve.tasks.catalog import find_task

    # Who asks wants a measurement of now, and says so where not.
    settings = config.load(["evaluation.cache=off", *options.overrides], task=options.task)
    task = find_task(options.task)
    source = _text(options.kernel)

    from devices.registry import get_device
    from evaluators.local import evaluate_locally
    from kernelevolve.core.kernel import Kernel
    from kernelevolve.report.summary import ratio_text, variant_json, variants_text

    language = "cpp" if "CPP_SOURCE" in source else "python"
    kernel = Kernel(source=source, language=language)
    verdict = evaluate_locally(task, kernel, get_device(settings.device), settings.evaluation)
    if options.json:
        speedup = verdict.speedup
        told = {
            "task": task.name,
            "kernel": str(options.kernel),
            "kernel_id": kernel.id,
            "device": verdict.device,
            "status": str(verdict.status),
            "cached": verdict.cached,
            "speedup": speedup.value if speedup else None,
            "speedup_interval": [speedup.low, speedup.high] if speedup else None,
            "variants": {name: variant_json(timed) for name, timed in verdict.variants.items()},
            "aten_share": verdict.aten.share if verdict.aten else None,
            "aten_operators": dict(verdict.aten.operators) if verdict.aten else {},
            "diagnosis": verdict.diagnosis.model_dump() if verdict.diagnosis else None,
            "seconds": dict(verdict.seconds),
        }
        print(json.dumps(told, indent=2))
        return 0
    if verdict.cached:
        print("judged before, under the same conditions:")
    if verdict.speedup:
        print(f"{verdict.status}: {ratio_text(verdict.speedup)} over eager")
        if verdict.variants:
            print(f"variants: {variants_text(verdict.variants)}")
        if verdict.aten and verdict.aten.share > 0:
            operators = ", ".join(f"{name} {share:.0%}" for name, share in verdict.aten.operators.items())
            print(f"PyTorch's own operators take {verdict.aten.share:.0%} of a call: {operators}")
    elif verdict.diagnosis:
        print(f"{verdict.status} ({verdict.diagnosis.stage}): {verdict.diagnosis.summary}")
        if verdict.diagnosis.details:
            print(verdict.diagnosis.details)
    return 0


def _text(path: Path) -> str:
    """The file whatever it holds: what is no source gets a verdict. Raises UserError where there is no file."""
    try:
        return path.read_bytes().decode(errors="replace")
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): name a file that defines ModelNew") from error
