"""Settings as the command line of `vllm serve` has them, which is how its versions agree best."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def command_line(settings: Mapping[str, Any]) -> list[str]:
    """`--name=value` of each; what is true or false as `--name` or `--no-name`, what has parts as JSON; None is left out.

    Raises ValueError for a name that is none.
    """
    words: list[str] = []
    for name, value in settings.items():
        if not name.replace("_", "").replace("-", "").isalnum():
            raise ValueError(f"{name!r} is no argument of vllm serve")
        flag = name.replace("_", "-")
        match value:
            case None:
                pass
            case bool():
                words.append(f"--{flag}" if value else f"--no-{flag}")
            case Mapping():
                words.append(f"--{flag}={json.dumps(dict(value))}")
            case list() | tuple():
                words += [f"--{flag}", *map(str, value)]
            case _:
                words.append(f"--{flag}={value}")
    return words
