"""What every backend of models must do; a test module derives from `ModelBackendConformance`."""

from __future__ import annotations

import asyncio
import pickle
from abc import ABC, abstractmethod

import pytest

from kernelevolve.llm.base import ModelBackend
from kernelevolve.llm.errors import ModelError
from kernelevolve.llm.messages import Message, Request, Role


class ModelBackendConformance(ABC):
    @abstractmethod
    def backend(self) -> ModelBackend:
        """That answers `request()`."""

    @abstractmethod
    def failing(self) -> ModelBackend:
        """That does not."""

    def request(self) -> Request:
        return Request(messages=(Message(role=Role.USER, text="hi"),))

    def test_an_assistant_answers(self) -> None:
        async def ask() -> None:
            backend = self.backend()
            await backend.start()
            completions = await asyncio.gather(*(backend.generate(self.request()) for _ in range(4)))
            assert all(one.message.role is Role.ASSISTANT for one in completions)
            assert all(one.message.text or one.message.calls for one in completions)
            assert all(one.tokens.total > 0 for one in completions)
            await backend.close()
            await backend.close()

        asyncio.run(ask())

    def test_it_has_a_name(self) -> None:
        assert self.backend().model == self.backend().model != ""

    def test_what_goes_wrong_is_an_error_of_ours_that_travels(self) -> None:
        async def ask() -> ModelError:
            backend = self.failing()
            with pytest.raises(ModelError) as raised:
                await backend.generate(self.request())
            await backend.close()
            return raised.value

        error = asyncio.run(ask())
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is type(error)
        assert str(again) == str(error) != ""
        assert "\n" not in str(error)
