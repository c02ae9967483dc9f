"""Timed blocks with noise that is known, and settings for them."""

from __future__ import annotations

import random

from evaluators.settings import TimingSettings
from evaluators.timing.blocks import BlockTime

SETTINGS = TimingSettings(
    reference_processes=1,
    kernel_processes=1,
    warmup_calls=1,
    block_seconds=0.001,
    max_calls=8,
    block_mb=8,
    min_rounds=6,
    max_rounds=60,
    target_interval=0.02,
    max_seconds=10.0,
    disturbed_factor=2.0,
)


def blocks(rng: random.Random, seconds: float, offsets: list[float], rounds: int) -> list[BlockTime]:
    """Of as many processes as there are offsets: factors that hold for a process, beside the noise of each block."""
    turns = (number % len(offsets) for number in range(rounds))
    return [BlockTime(turn, seconds * offsets[turn] * rng.lognormvariate(0, 0.03)) for turn in turns]


def offsets(rng: random.Random, processes: int) -> list[float]:
    return [rng.lognormvariate(0, 0.03) for _ in range(processes)]
