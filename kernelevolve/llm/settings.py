"""Which models answer, and how they are asked: the group `llm` of the configuration, where the values stand."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from pydantic import Field, field_validator

from kernelevolve.core.component import Component
from kernelevolve.core.record import Record
from kernelevolve.llm.prices import Price


class ModelSettings(Record):
    """One model. A name alone is enough, where it is reached as the group says."""

    name: str = Field(min_length=1)
    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """Its share of the calls, by weight; where they go to what pays, the share that it begins with."""
    backend: Component | None = None
    """How it is reached; None: as the group's `backend` says."""


class Choice(StrEnum):
    """Which of several models is asked."""

    WEIGHTS = "weights"
    BANDIT = "bandit"
    """What has improved kernels most for its cost, and now and then another."""


class LlmSettings(Record):
    """The group `llm`."""

    backend: Component
    """A class that takes `model`, and what stands beside it."""
    models: tuple[ModelSettings, ...] = Field(min_length=1)
    choose: Choice
    attempts: int = Field(ge=1)
    """At a request, before it fails;"""
    patience: float = Field(gt=0)
    """seconds for all of them."""
    first_wait: float = Field(gt=0)
    """Seconds; it doubles with each attempt, up to"""
    longest_wait: float = Field(gt=0)
    concurrency: int = Field(ge=1)
    """Requests under way, for each model."""
    requests_per_minute: float | None = Field(gt=0)
    tokens_per_minute: float | None = Field(gt=0)
    hedge_after: float | None = Field(gt=0)
    """Seconds after which the same request is sent a second time, and the first answer taken; both are paid for."""
    prices: Mapping[str, Price]
    """By patterns of names; the longest that fits counts."""

    @field_validator("models", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        many = [value] if isinstance(value, str) else value
        return [{"name": one} if isinstance(one, str) else one for one in many]

    @field_validator("models")
    @classmethod
    def _distinct(cls, value: tuple[ModelSettings, ...]) -> tuple[ModelSettings, ...]:
        names = [model.name for model in value]
        if len(set(names)) != len(names):
            raise ValueError("a model is named twice")
        return value
