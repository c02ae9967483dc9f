"""Printing and writing a comparison."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from kernelevolve.core.errors import UserError
from kernelevolve.experiments import plots, tables
from kernelevolve.experiments.curves import Curve
from kernelevolve.experiments.statistics import StrategyComparison


def present(
    found: StrategyComparison,
    curves: Sequence[Curve],
    *,
    out: Path | None,
    as_json: bool,
    further: Mapping[str, Any] | None = None,
) -> None:
    """Print a comparison, and write it to a folder.

    Args:
        found: The comparison.
        curves: The curves that it is based on.
        out: The folder for CSV, JSON and plots; None: nothing is written.
        as_json: Print one JSON object instead of tables.
        further: Further entries of the JSON object.

    Raises:
        UserError: `out` is not a folder.
    """
    text = json.dumps({**(further or {}), **tables.to_json(found)}, indent=2)
    console = Console()
    if as_json:
        print(text)
    else:
        console.print(tables.view(found))
    if out is None:
        return
    try:
        out.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UserError(f"--out {out}: a file is in the way; name a folder") from error
    (out / "comparison.json").write_text(text + "\n", encoding="utf-8")
    written = [tables.write_csv(curves, out / "curves.csv"), *plots.draw(found, out)]
    if not as_json:
        console.print(*(str(path) for path in written), sep="\n", soft_wrap=True)
