"""The interface of models."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Protocol

from kernelevolve.llm.exchange import Exchange
from kernelevolve.llm.messages import Completion, Request
from kernelevolve.llm.settings import ModelChoice


class ModelBackend(ABC):
    """Sends requests to one model.

    It is built in the process that uses it. It holds connections, so it is never pickled. Keys come from the
    environment of that process; they appear in no setting, message or error.
    """

    @property
    @abstractmethod
    def model(self) -> str:
        """The name by which users select the model."""

    async def start(self) -> None:  # noqa: B027 - optional
        """Check that the model can answer, at no cost.

        Raises:
            UserError: It cannot. The message names the setting or the environment variable to fix.
        """

    @abstractmethod
    async def generate(self, request: Request) -> Completion:
        """Make one attempt at a request. Cancelling the call ends the request.

        Raises:
            ModelError: The endpoint failed. It raises no other errors for what an endpoint does.
        """

    async def close(self) -> None:  # noqa: B027 - optional
        """Close connections."""


class Models(Protocol):
    """The interface through which operators ask models."""

    @property
    def weights(self) -> Mapping[str, float]:
        """The weight of each model by name."""
        ...

    @property
    def choice(self) -> ModelChoice:
        """The rule that selects one of several models."""
        ...

    async def ask(self, model: str, request: Request, purpose: str) -> Exchange:
        """Ask a model. `purpose` is the id of the node that the request is for. Raises ModelError."""
        ...
