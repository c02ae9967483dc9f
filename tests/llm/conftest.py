"""Settings of the group `llm` for a scripted endpoint."""

from __future__ import annotations

from typing import Any

import pytest

from kernelevolve import config
from kernelevolve.core.component import Component
from kernelevolve.llm.messages import Message, Request, Role, Sampling
from kernelevolve.llm.openai.backend import OpenAIBackend
from kernelevolve.llm.settings import LlmSettings
from tests.endpoint import Endpoint
from tests.keys import KEY, VARIABLE


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, KEY)


def backend(endpoint: Endpoint, **changes: Any) -> OpenAIBackend:
    return OpenAIBackend(**{"model": "tiny", "base_url": endpoint.url, "key": VARIABLE, "timeout": 5.0, **changes})


def llm_settings(endpoint: Endpoint | None, **changes: Any) -> LlmSettings:
    """The shipped ones, with short waits."""
    shipped = config.compose(["llm=openai", "task=x"])["llm"]
    url = endpoint.url if endpoint else "http://127.0.0.1:1/v1"
    reached = {**shipped["backend"], "base_url": url, "key": VARIABLE, "timeout": 5.0, **changes.pop("backend", {})}
    quick = {"models": ["tiny"], "first_wait": 0.02, "longest_wait": 0.1, "patience": 20.0}
    return LlmSettings.model_validate({**shipped, **quick, "backend": Component.model_validate(reached), **changes})


def asked(text: str = "hi", **sampling: Any) -> Request:
    return Request(messages=(Message(role=Role.USER, text=text),), sampling=Sampling(**{"max_tokens": 100, **sampling}))
