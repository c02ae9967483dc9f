"""The model seam."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Protocol

from kernelevolve.llm.exchange import Exchange
from kernelevolve.llm.messages import Completion, Request
from kernelevolve.llm.settings import Choice


class ModelBackend(ABC):
    """Asks one model. Built where it runs: in the model actor, or in a test; it holds connections, so it is not pickled.

    Keys come from the environment of that process, and are in no setting, message or error.
    """

    @property
    @abstractmethod
    def model(self) -> str:
        """The name by which users choose it."""

    async def start(self) -> None:  # noqa: B027 - nothing to look for
        """Make sure that it can answer. Raises UserError that names the setting or the variable to mend; costs nothing."""

    @abstractmethod
    async def generate(self, request: Request) -> Completion:
        """One attempt. Raises the errors of `errors.py` and no others for what the endpoint does; cancelling it ends the request."""

    async def close(self) -> None:  # noqa: B027 - many hold nothing
        """Give connections back."""


class Models(Protocol):
    """What operators ask models through."""

    @property
    def weights(self) -> Mapping[str, float]:
        """By name of the model."""
        ...

    @property
    def choice(self) -> Choice: ...

    async def ask(self, model: str, request: Request, purpose: str) -> Exchange:
        """`purpose`: the node that it is for. Raises ModelError."""
        ...
