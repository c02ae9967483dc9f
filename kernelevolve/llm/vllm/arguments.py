"""Engine settings as a command line of `vllm serve`, which is more stable than vLLM's Python interface."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def command_line(settings: Mapping[str, Any]) -> list[str]:
    """Convert settings to command-line arguments.

    A value becomes `--name=value`, a boolean `--name` or `--no-name`, and a mapping JSON. None is left out.

    Raises:
        ValueError: A name is not an argument's name.
    """
    words: list[str] = []
    for name, value in settings.items():
        if not name.replace("_", "").replace("-", "").isalnum():
            raise ValueError(f"{name!r} is not an argument of vllm serve")
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
