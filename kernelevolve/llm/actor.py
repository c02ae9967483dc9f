"""The actor that sends requests to models."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from kernelevolve.core.budget import Budget
from kernelevolve.core.errors import UserError
from kernelevolve.core.usage import Usage
from kernelevolve.llm.accounting.accounts import Account
from kernelevolve.llm.accounting.meters import Gauges, Meter, Tally
from kernelevolve.llm.accounting.prices import price_of
from kernelevolve.llm.base import ModelBackend
from kernelevolve.llm.dispatcher import Dispatcher
from kernelevolve.llm.errors import UnknownRunError
from kernelevolve.llm.exchange import Exchange
from kernelevolve.llm.messages import Request
from kernelevolve.llm.once import Once
from kernelevolve.llm.recording import FILE, Recording
from kernelevolve.llm.settings import LlmSettings, ModelSettings
from kernelevolve.llm.transport.wire import Question


def build_backend(model: ModelSettings, settings: LlmSettings) -> ModelBackend:
    """Return the backend of a model. Raises UserError that names the illegal setting."""
    backend = (model.backend or settings.backend).build("llm.backend", model=model.name)
    if not isinstance(backend, ModelBackend):
        raise UserError(f"llm.backend._target_: {type(backend).__name__} is not a model backend")
    return backend


class _Run:
    """The account and the recording of a run."""

    def __init__(self, folder: Path, budget: Budget) -> None:
        self.recording = Recording(folder / FILE, write=True)
        self.budget = budget
        self.account = Account(budget, self.recording.spent())
        self._in_flight = 0
        self._left = False

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Keep the recording open while a request is in flight."""
        self._in_flight += 1
        try:
            yield
        finally:
            self._in_flight -= 1
            self._close_if_over()

    def leave(self) -> None:
        """Close the recording once no request is in flight."""
        self._left = True
        self._close_if_over()

    def _close_if_over(self) -> None:
        if self._left and not self._in_flight:
            self.recording.close()


class ModelActor:
    """An asyncio Ray actor; without Ray, an object for one event loop.

    An exchange is written to the run's recording as soon as it is answered, so what was paid is known even if this
    process dies.
    """

    def __init__(self, settings: LlmSettings, gauges: Gauges | None = None) -> None:
        self._settings = settings
        self._gauges = gauges
        self._models: dict[str, Dispatcher] = {}
        self._backends: dict[str, ModelBackend] = {}
        self._runs: dict[Path, _Run] = {}
        """Folder -> run. Names of runs are not unique."""
        self._started = Once(self._start)

    async def start(self, budget: Budget) -> None:
        """Start the backends once, and check that the budget can be enforced.

        Raises:
            UserError: A model cannot answer, or the budget limits the cost and a model has no price.
        """
        unpriced = [m.name for m in self._settings.models if price_of(m.name, self._settings.prices) is None]
        if budget.cost is not None and unpriced:
            raise UserError(
                f"budget.cost: {', '.join(unpriced)} has no price; give one in dollars for a million tokens, as in "
                f"'+llm.prices={{{unpriced[0]}: {{read: 1.0, written: 4.0}}}}'"
            )
        await self._started.get()

    async def _start(self) -> None:
        for model in self._settings.models:
            if model.name not in self._backends:
                backend = self._backends[model.name] = build_backend(model, self._settings)
                price = price_of(model.name, self._settings.prices)
                meter = Meter(model.name, self._gauges)
                self._models[model.name] = Dispatcher(backend, self._settings, price, meter)
        await asyncio.gather(*(backend.start() for backend in self._backends.values()))

    async def open(self, folder: Path, budget: Budget) -> Usage:
        """Begin or resume the run of a folder.

        Returns:
            What the run has spent so far.

        Raises:
            UserError: The recording cannot be opened.
        """
        if folder in self._runs and self._runs[folder].budget != budget:
            await self.leave(folder)
        if folder not in self._runs:
            self._runs[folder] = _Run(folder, budget)
        return self._runs[folder].account.spent

    async def leave(self, folder: Path) -> None:
        """End a run. Its recording is closed when its last request ends."""
        run = self._runs.pop(folder, None)
        if run is not None:
            run.leave()

    async def ask(self, folder: Path, model: str, request: Request, purpose: str) -> Exchange:
        """Ask a model.

        Args:
            folder: The folder of the run.
            model: The name of the model.
            request: The request.
            purpose: The id of the node that it is for.

        Raises:
            ModelError: The model gave no answer.
            UnknownRunError: The run is not open.
            KeyError: There is no such model.
        """
        if folder not in self._runs:
            raise UnknownRunError(str(folder))
        held = self._runs[folder]
        with held.asking():
            exchange = await self._models[model].ask(request, held.account)
            return exchange.model_copy(update={"number": held.recording.put(exchange, request, purpose)})

    async def answer(self, question: Question) -> Exchange:
        """Answer a question that arrived over the network."""
        return await self.ask(question.folder, question.model, question.request, question.purpose)

    async def tallies(self) -> Mapping[str, Tally]:
        """Return the tally of each model."""
        return {name: dispatcher.meter.tally() for name, dispatcher in self._models.items()}

    async def close(self) -> None:
        """Close the backends and the recordings."""
        await asyncio.gather(*(backend.close() for backend in self._backends.values()))
        for folder in list(self._runs):
            await self.leave(folder)
