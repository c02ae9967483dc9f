"""The configuration group `llm`: the models and how they are asked."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from pydantic import Field, field_validator

from kernelevolve.core.component import Component
from kernelevolve.core.record import Record
from kernelevolve.llm.accounting.prices import Price


class ModelSettings(Record):
    """One model. Its name is enough if it uses the backend of the group."""

    name: str = Field(min_length=1)
    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """The relative share of the calls. With the bandit it is the initial share."""
    backend: Component | None = None
    """The backend of the model; None: that of the group."""


class ModelChoice(StrEnum):
    """The rule that selects one of several models."""

    WEIGHTS = "weights"
    """A random choice by the weights."""
    BANDIT = "bandit"
    """The model that improved kernels most for its cost, with exploration of the others."""


class LlmSettings(Record):
    """The group `llm`."""

    backend: Component
    """A backend class, which takes `model`, with its further arguments."""
    models: tuple[ModelSettings, ...] = Field(min_length=1)
    choose: ModelChoice
    attempts: int = Field(ge=1)
    """The maximum number of attempts of a request."""
    patience: float = Field(gt=0)
    """The maximum seconds for all attempts of a request."""
    first_wait: float = Field(gt=0)
    """The maximum seconds before the second attempt. The bound doubles with each further attempt."""
    longest_wait: float = Field(gt=0)
    """The limit of that bound in seconds."""
    concurrency: int = Field(ge=1)
    """The maximum number of requests in flight per model."""
    requests_per_minute: float | None = Field(gt=0)
    """The maximum number of requests per minute and model; None: no limit."""
    tokens_per_minute: float | None = Field(gt=0)
    """The maximum number of tokens per minute and model; None: no limit."""
    hedge_after: float | None = Field(gt=0)
    """The seconds after which a request is sent a second time; the first answer is used, and both are paid. None:
    never.
    """
    prices: Mapping[str, Price]
    """Pattern of names -> price. The longest pattern that matches applies."""

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
