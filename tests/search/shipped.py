"""Strategies as `conf/` ships them."""

from __future__ import annotations

from pathlib import Path

from hydra.utils import instantiate
from omegaconf import OmegaConf

from kernelevolve.search.base import Strategy

_CONF = Path(__file__).parents[2] / "conf" / "search"


def shipped(name: str, seed: int) -> Strategy:
    strategy: Strategy = instantiate(OmegaConf.load(_CONF / f"{name}.yaml"), seed=seed)
    return strategy
