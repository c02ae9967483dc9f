"""A connection to the model actor's server."""

from __future__ import annotations

import asyncio
from itertools import count

import aiohttp

from kernelevolve.llm.exchange import Exchange
from kernelevolve.llm.transport.server import HEARTBEAT_SECONDS
from kernelevolve.llm.transport.wire import Address, Call, Question, Reply

_CONNECT_SECONDS = 10.0


class ConnectionLostError(Exception):
    """The actor cannot be reached, or died before it answered."""


class Connection:
    """A connection that carries many calls at the same time. It belongs to one event loop."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._numbers = count()
        self._waiting: dict[int, asyncio.Future[Exchange]] = {}
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._reading: asyncio.Task[None] | None = None
        self.loop = asyncio.get_running_loop()

    async def open(self) -> None:
        """Connect. Raises ConnectionLostError."""
        opened: asyncio.Future[aiohttp.ClientWebSocketResponse] = self.loop.create_future()
        self._reading = asyncio.create_task(self._read(opened))
        self._socket = await opened

    @property
    def broken(self) -> bool:
        """Whether the connection can no longer be used."""
        return self._socket is None or self._socket.closed or self._reading is None or self._reading.done()

    async def ask(self, question: Question) -> Exchange:
        """Send a question and return its answer. Cancelling the call cancels the request.

        Raises:
            ConnectionLostError: The connection is broken.
            Exception: The error that the actor raised.
        """
        if self._socket is None or self.broken:
            raise ConnectionLostError(self._address.url)
        id = next(self._numbers)
        answer: asyncio.Future[Exchange] = self.loop.create_future()
        self._waiting[id] = answer
        try:
            await self._send(self._socket, Call(id=id, question=question))
            return await answer
        except asyncio.CancelledError:
            if not self.broken:
                await self._send(self._socket, Call(id=id, question=None))
            raise
        finally:
            self._waiting.pop(id, None)

    async def close(self) -> None:
        """Cancel the calls in flight and disconnect."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    async def _send(self, socket: aiohttp.ClientWebSocketResponse, call: Call) -> None:
        try:
            await socket.send_str(call.model_dump_json())
        except (aiohttp.ClientError, OSError) as error:
            raise ConnectionLostError(f"{self._address.url}: {error}") from error

    async def _read(self, opened: asyncio.Future[aiohttp.ClientWebSocketResponse]) -> None:
        """Deliver replies to their callers until either end disconnects."""
        why: Exception = ConnectionLostError(f"{self._address.url} hung up")
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(sock_connect=_CONNECT_SECONDS)) as session,
                session.ws_connect(
                    self._address.url,
                    headers={"Authorization": f"Bearer {self._address.token}"},
                    heartbeat=HEARTBEAT_SECONDS,
                    max_msg_size=0,
                    compress=0,
                ) as socket,
            ):
                opened.set_result(socket)
                async for message in socket:
                    if message.type is not aiohttp.WSMsgType.TEXT:
                        break
                    self._received(Reply.model_validate_json(message.data))
        except (aiohttp.ClientError, OSError) as error:
            why = ConnectionLostError(f"{self._address.url}: {error}")
        finally:
            for one in (opened, *self._waiting.values()):
                if not one.done():
                    one.set_exception(why)

    def _received(self, reply: Reply) -> None:
        answer = self._waiting.pop(reply.id, None)
        if answer is None or answer.done():
            return
        if reply.failure is not None:
            answer.set_exception(reply.failure.error())
        elif reply.exchange is not None:
            answer.set_result(reply.exchange)
