"""The door of the model actor and the way to it, over a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from kernelevolve.core.errors import UserError
from kernelevolve.llm.errors import BudgetExceededError, LimitedError, ModelError, TooLongError, UnknownRunError
from kernelevolve.llm.exchange import Exchange
from kernelevolve.llm.messages import Completion, Finish, Message, Role, Tokens, Tool, ToolCall
from kernelevolve.llm.transport.connection import Connection, ConnectionLostError
from kernelevolve.llm.transport.server import ModelServer
from kernelevolve.llm.transport.wire import ERRORS, Failure, Question
from tests.llm.conftest import asked


def question(text: str = "hi") -> Question:
    return Question(folder=Path("/runs/one"), model="tiny", request=asked(text), purpose="one.0.1")


def exchange(text: str) -> Exchange:
    said = Message(role=Role.ASSISTANT, text=text, calls=(ToolCall(id="1", name="read", arguments="{"),))
    completion = Completion(message=said, finish=Finish.CALLS, tokens=Tokens(read=3, written=2), model="tiny-1")
    return Exchange(model="tiny", completion=completion, cost=0.5, attempts=2, seconds=0.1, number=7)


class Service:
    """Echoes what it is asked; waits where it is told to."""

    def __init__(self) -> None:
        self.in_flight = 0
        self.called_off = 0
        self.error: Exception | None = None

    async def answer(self, one: Question) -> Exchange:
        self.in_flight += 1
        try:
            text = one.request.messages[0].text
            if text == "forever":
                await asyncio.sleep(600)
            if self.error is not None:
                raise self.error
            await asyncio.sleep(0.001 * (len(text) % 7))
            return exchange(text)
        except asyncio.CancelledError:
            self.called_off += 1
            raise
        finally:
            self.in_flight -= 1


def talked(talk: Callable[[Service, ModelServer, Connection], Awaitable[None]]) -> None:
    async def whole() -> None:
        service = Service()
        server = ModelServer(service.answer)
        connection = Connection(await server.start("127.0.0.1"))
        await connection.open()
        await talk(service, server, connection)
        await connection.close()
        await server.close()
        assert service.in_flight == 0

    asyncio.run(whole())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


def test_many_at_once_each_get_their_own_answer_whole() -> None:
    async def talk(_: Service, __: ModelServer, connection: Connection) -> None:
        texts = ["ä\n" * (i * 50) + str(i) for i in range(200)]
        found = await asyncio.gather(*(connection.ask(question(text)) for text in texts))
        assert found == [exchange(text) for text in texts]

    talked(talk)


def test_a_question_arrives_as_it_was_asked() -> None:
    tool = Tool(name="read", description="Reads.", parameters={"type": "object", "b": [1, None], "a": 1.5})
    sent = question().model_copy(
        update={"request": asked("x", temperature=0.7, seed=3).model_copy(update={"tools": (tool,)})}
    )
    again = Question.model_validate_json(sent.model_dump_json())
    assert again == sent
    assert again.request.key == sent.request.key


@pytest.mark.parametrize(
    "error",
    [
        LimitedError("too often", 2.5),
        TooLongError("too long", 4096),
        BudgetExceededError("nothing left"),
        UnknownRunError("/runs/one"),
        UserError("make room"),
        ModelError("no"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_arrive_as_they_were_raised(error: Exception) -> None:
    assert isinstance(error, ERRORS)

    async def talk(service: Service, _: ModelServer, connection: Connection) -> None:
        service.error = error
        with pytest.raises(type(error)) as raised:
            await connection.ask(question())
        assert type(raised.value) is type(error)
        assert vars(raised.value) == vars(error)
        assert str(raised.value) == str(error)

    talked(talk)


def test_a_fault_of_ours_is_told_and_ends_no_other_call() -> None:
    async def talk(service: Service, _: ModelServer, connection: Connection) -> None:
        other = asyncio.create_task(connection.ask(question("forever")))
        await until(lambda: service.in_flight == 1)
        service.error = ZeroDivisionError("of ours")
        with pytest.raises(RuntimeError, match="ZeroDivisionError: of ours"):
            await connection.ask(question())
        assert not other.done()
        other.cancel()
        await asyncio.gather(other, return_exceptions=True)
        await until(lambda: service.called_off == 1)

    talked(talk)


def test_one_call_that_is_called_off_is_called_off_alone() -> None:
    async def talk(service: Service, _: ModelServer, connection: Connection) -> None:
        tasks = [asyncio.create_task(connection.ask(question("forever"))) for _ in range(3)]
        await until(lambda: service.in_flight == 3)
        tasks[1].cancel()
        await until(lambda: service.called_off == 1)
        assert (service.in_flight, [task.done() for task in tasks]) == (2, [False, True, False])
        assert (await connection.ask(question("still there"))).completion.message.text == "still there"
        await connection.close()
        with pytest.raises(ConnectionLostError):
            await tasks[0]
        await until(lambda: service.called_off == 3)
        await asyncio.gather(*tasks, return_exceptions=True)

    talked(talk)


def test_who_waits_is_told_when_the_other_end_hangs_up() -> None:
    async def talk(service: Service, server: ModelServer, connection: Connection) -> None:
        waiting = asyncio.create_task(connection.ask(question("forever")))
        await until(lambda: service.in_flight == 1)
        await server.close()
        with pytest.raises(ConnectionLostError):
            await waiting
        assert connection.broken
        with pytest.raises(ConnectionLostError):
            await connection.ask(question())

    talked(talk)


def test_without_the_token_nobody_gets_in() -> None:
    async def whole() -> None:
        service = Service()
        server = ModelServer(service.answer)
        address = await server.start("127.0.0.1")
        stranger = Connection(address.model_copy(update={"token": "0" * 43}))
        with pytest.raises(ConnectionLostError, match="401"):
            await stranger.open()
        assert address.token not in repr(address)
        await server.close()
        late = Connection(address)
        with pytest.raises(ConnectionLostError):
            await late.open()

    asyncio.run(whole())


def test_a_reply_is_either_an_answer_or_an_error() -> None:
    unknown = Failure(kind="NoSuchError", arguments=("what",))
    assert isinstance(unknown.error(), RuntimeError)
    assert isinstance(Failure.of(KeyError("x")).error(), RuntimeError)
