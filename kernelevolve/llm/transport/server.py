"""The server of the model actor: a websocket, since a call of Ray takes longer than the actor's own work."""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

from aiohttp import WSMsgType, web

from kernelevolve.llm.exchange import Exchange
from kernelevolve.llm.transport.wire import ERRORS, Address, Call, Failure, Question, Reply

_LOG = logging.getLogger(__name__)
HEARTBEAT_SECONDS = 120.0
"""The seconds of silence after which a peer is pinged."""

Ask = Callable[[Question], Awaitable[Exchange]]


class ModelServer:
    """Answers calls on the connections of clients that present its token. A disconnect cancels the client's calls."""

    def __init__(self, ask: Ask) -> None:
        """Create a server. Errors of `ask` that `wire.py` lists are passed on; others are reported as bugs."""
        self._ask = ask
        self._token = secrets.token_urlsafe(32)
        self._runner: web.AppRunner | None = None
        self._sockets: set[web.WebSocketResponse] = set()

    async def start(self, host: str) -> Address:
        """Listen at a free port of the host."""
        app = web.Application()
        app.router.add_get("/", self._connected)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, 0).start()
        name, port, *_ = self._runner.addresses[0]
        return Address.at(name, port, "/", self._token)

    async def close(self) -> None:
        """Close all connections."""
        await asyncio.gather(*(socket.close() for socket in set(self._sockets)))
        if self._runner is not None:
            await self._runner.cleanup()

    async def _connected(self, request: web.Request) -> web.WebSocketResponse:
        shown = request.headers.get("Authorization", "")
        if not hmac.compare_digest(shown.encode(), f"Bearer {self._token}".encode()):
            raise web.HTTPUnauthorized
        socket = web.WebSocketResponse(heartbeat=HEARTBEAT_SECONDS, max_msg_size=0, compress=False)
        await socket.prepare(request)
        caller = _Caller(socket, self._ask)
        self._sockets.add(socket)
        try:
            async for message in socket:
                if message.type is not WSMsgType.TEXT:
                    break
                caller.received(Call.model_validate_json(message.data))
        finally:
            self._sockets.discard(socket)
            await caller.hung_up()
        return socket


@dataclass
class _Caller:
    """One connection."""

    socket: web.WebSocketResponse
    ask: Ask
    calls: dict[int, asyncio.Task[None]] = field(default_factory=dict)

    def received(self, call: Call) -> None:
        if call.question is not None:
            task = asyncio.create_task(self._carried_out(call.id, call.question))
            self.calls[call.id] = task
            task.add_done_callback(partial(self._over, call.id))
        elif call.id in self.calls:
            self.calls[call.id].cancel()

    async def hung_up(self) -> None:
        for task in self.calls.values():
            task.cancel()
        await asyncio.gather(*self.calls.values(), return_exceptions=True)

    async def _carried_out(self, id: int, question: Question) -> None:
        try:
            reply = Reply(id=id, exchange=await self.ask(question))
        except ERRORS as error:
            reply = Reply(id=id, failure=Failure.of(error))
        await self._send(reply)

    async def _send(self, reply: Reply) -> None:
        if not self.socket.closed:
            await self.socket.send_str(reply.model_dump_json())

    def _over(self, id: int, task: asyncio.Task[None]) -> None:
        del self.calls[id]
        error = None if task.cancelled() else task.exception()
        if error is not None:
            _LOG.error("a request failed because of a bug", exc_info=error)
            sending = self.calls[id] = asyncio.create_task(self._send(Reply(id=id, failure=Failure.of(error))))
            sending.add_done_callback(lambda _: self.calls.pop(id, None))
