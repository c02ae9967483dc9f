"""Recordings: what was said comes back, and counts."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from kernelevolve.core.errors import UserError
from kernelevolve.core.usage import Usage
from kernelevolve.llm.base import ModelBackend
from kernelevolve.llm.errors import MissingExchangeError
from kernelevolve.llm.exchange import Exchange
from kernelevolve.llm.messages import Completion, Finish, Message, Role, Tokens
from kernelevolve.llm.recording import FILE, Recording
from kernelevolve.llm.replay import ReplayBackend
from tests.conformance.model_backend import ModelBackendConformance
from tests.llm.conftest import asked


def exchange(text: str, tokens: int = 10, cost: float = 0.5, model: str = "tiny") -> Exchange:
    message = Message(role=Role.ASSISTANT, text=text)
    completion = Completion(message=message, finish=Finish.STOP, tokens=Tokens(read=tokens), model=model)
    return Exchange(model=model, completion=completion, cost=cost, attempts=1, seconds=0.1)


def test_what_was_said_comes_back_after_the_file_was_closed(tmp_path: Path) -> None:
    recording = Recording(tmp_path / FILE, write=True)
    first = recording.put(exchange("one"), asked("a", seed=1), "run.0.1")
    recording.put(exchange("two"), asked("a", seed=2), "run.0.2")
    recording.put(exchange("other", model="large"), asked("a", seed=1), "run.1.1")
    recording.put(exchange("later"), asked("a", seed=1), "run.0.3")
    recording.close()
    again = Recording(tmp_path / FILE, write=True)
    assert again.find("tiny", asked("a", seed=1)) == (exchange("one").completion, 0.5), "the first of the same content"
    assert again.find("tiny", asked("a", seed=2))[0].message.text == "two"
    assert again.find("large", asked("a", seed=1))[0].message.text == "other"
    assert again.exchange(first) == ("tiny", asked("a", seed=1), exchange("one").completion)
    assert again.spent() == Usage(tokens=40, cost=2.0)
    assert again.spent("run.0.") == Usage(tokens=30, cost=1.5)
    assert again.models() == ["large", "tiny"]
    with pytest.raises(MissingExchangeError, match="lacks this exchange with tiny, of which it holds 3"):
        again.find("tiny", asked("b", seed=1))
    with pytest.raises(KeyError):
        again.exchange(99)
    again.close()


def test_files_that_are_no_recordings_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no recording"):
        Recording(tmp_path / "none", write=False)
    (tmp_path / "text").write_text("no database" * 100)
    with pytest.raises(UserError, match="cannot be opened"):
        Recording(tmp_path / "text", write=False)
    with sqlite3.connect(tmp_path / "later") as db:
        db.execute("PRAGMA user_version = 9")
    with pytest.raises(UserError, match="no recording of version"):
        Recording(tmp_path / "later", write=True)


def test_an_exchange_that_was_spoilt_is_missing(tmp_path: Path) -> None:
    recording = Recording(tmp_path / FILE, write=True)
    recording.put(exchange("one"), asked(), "")
    recording._db.execute("UPDATE exchanges SET completion = x'00'")
    with pytest.raises(MissingExchangeError, match="cannot be read"):
        recording.find("tiny", asked())
    recording.close()


class TestConformance(ModelBackendConformance):
    @pytest.fixture(autouse=True)
    def recorded(self, tmp_path: Path) -> None:
        self.folder = tmp_path
        recording = Recording(tmp_path / FILE, write=True)
        recording.put(exchange("hello"), self.request(), "")
        recording.put(exchange("hello", model="large"), asked("something else"), "")
        recording.close()

    def backend(self) -> ModelBackend:
        return ReplayBackend("tiny", str(self.folder))

    def failing(self) -> ModelBackend:
        return ReplayBackend("large", str(self.folder / FILE))

    def test_a_model_that_was_not_recorded_is_told_at_start(self) -> None:
        with pytest.raises(UserError, match="holds no exchange with huge, but with large, tiny"):
            asyncio.run(ReplayBackend("huge", str(self.folder)).start())
