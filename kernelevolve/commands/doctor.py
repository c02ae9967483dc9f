"""`kernelevolve doctor`."""

from __future__ import annotations

import json
from collections.abc import Sequence

from kernelevolve.commands.arguments import parser


def main(arguments: Sequence[str]) -> int:
    """Show the capabilities of this machine."""
    line = parser("doctor", "Show what this machine has, and what to install for the rest.")
    line.add_argument("--json", action="store_true", help="one JSON object")
    options = line.read(arguments)

    from rich.console import Console
    from rich.table import Table

    from kernelevolve.doctor import examine

    found = examine()
    if options.json:
        print(json.dumps({section: [row.model_dump() for row in rows] for section, rows in found.items()}, indent=2))
        return 0
    shown = Table(header_style="bold")
    for column in ("what", "name", "here", "detail"):
        shown.add_column(column, overflow="fold")
    for section, rows in found.items():
        for row in rows:
            shown.add_row(section, row.name, "[green]yes[/]" if row.available else "[red]no[/]", row.detail)
    Console().print(shown)
    return 0
