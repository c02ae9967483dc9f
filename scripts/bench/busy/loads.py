"""Programs that use the cores while something is measured: no children of this process, ended by their ids."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

_ALONE = "import os, sys\nif os.fork(): os._exit(0)\nos.setsid()\nprint(os.getpid(), flush=True)\nos.close(1)\n"
"""Have a program be nobody's child, in a group of its own, and say its id."""
_DUTY = """import random, time
share, rng = float(sys.argv[1]), random.Random(int(sys.argv[2]))
while True:
    busy = rng.uniform(0.002, 0.030)
    end = time.perf_counter() + busy
    while time.perf_counter() < end: pass
    if share < 1: time.sleep(busy * (1 - share) / share)
"""
_STREAM = "a, b = bytearray(64 << 20), bytearray(64 << 20)\nwhile True: b[:] = a\n"
_SHORT = "import subprocess\nwhile True: subprocess.run([sys.executable, '-c', 'import argparse, json, random'])\n"
_COMPILER = """import subprocess, tempfile
with tempfile.TemporaryDirectory() as folder:
    file = os.path.join(folder, "a.cpp")
    with open(file, "w") as out:
        out.write("#include <map>\\n#include <regex>\\n#include <string>\\n"
                  "bool f(const std::string& s) { std::map<std::string, std::regex> m; m.emplace(s, s); "
                  "return std::regex_match(s, m.at(s)); }\\n")
    while True: subprocess.run(["c++", "-O2", "-c", file, "-o", file + ".o"])
"""
_WARM_SECONDS = 0.3


@dataclass(frozen=True)
class Load:
    """Programs that run side by side, and the bars under them."""

    programs: tuple[tuple[str, ...], ...]
    """Code and arguments of each."""
    within: float
    """Of the quiet value, as a share, that the told one is to be"""
    often: float
    """in so many of those that are told."""
    unmeasured: float
    """Share that may be told as not measured."""


def _duty(*shares: float) -> tuple[tuple[str, ...], ...]:
    return tuple((_DUTY, str(share), str(seed)) for seed, share in enumerate(shares))


QUIET = "quiet"
LOADS = {
    QUIET: Load((), 0.07, 0.95, 0.0),
    "busy25": Load(_duty(0.25), 0.07, 0.95, 0.0),
    "busy50": Load(_duty(0.5), 0.07, 0.95, 0.0),
    "busy100": Load(_duty(1.0), 0.12, 0.90, 0.10),
    "stream": Load(((_STREAM,),), 0.12, 0.90, 0.10),
    "two50": Load(_duty(0.5, 0.5), 0.20, 0.90, 1 / 3),
    "short": Load(((_SHORT,),), 0.20, 0.90, 1 / 3),
    "two_short": Load(((_SHORT,), (_SHORT,)), 0.20, 0.90, 1 / 3),
    "compiler": Load(((_COMPILER,),), 0.20, 0.90, 1 / 3),
}
"""By name: a share of a core, one core, a stream through memory, two at half a core, loops of short programs, a compiler at work."""


@contextmanager
def under(load: Load) -> Iterator[None]:
    """While its programs run."""
    groups: list[int] = []
    try:
        for code, *arguments in load.programs:
            started = subprocess.run(
                [sys.executable, "-c", _ALONE + code, *arguments],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                check=True,
            )
            groups.append(int(started.stdout))
        time.sleep(_WARM_SECONDS if groups else 0.0)
        yield
    finally:
        for group in groups:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
