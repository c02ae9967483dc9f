"""A model at an endpoint with OpenAI's protocol."""

from __future__ import annotations

import asyncio
import difflib
import json
import os
from collections.abc import AsyncIterator, Mapping
from typing import Any, Literal
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from pydantic import ValidationError

from kernelevolve.core.errors import UserError
from kernelevolve.llm.base import ModelBackend
from kernelevolve.llm.errors import ModelError, TransientError
from kernelevolve.llm.messages import Completion, Request
from kernelevolve.llm.openai.chat import Chat
from kernelevolve.llm.openai.events import events
from kernelevolve.llm.openai.protocol import NoAnswerError, Protocol
from kernelevolve.llm.openai.refusals import refusal
from kernelevolve.llm.openai.responses import Responses

_CONNECT_SECONDS = 10.0
_CHUNK = 1 << 16
_LISTED = 8
"""The maximum number of an endpoint's models that a message lists."""


class OpenAIBackend(ModelBackend):
    """Asks a model through `/chat/completions` or `/responses`, streamed or not."""

    def __init__(
        self,
        model: str,
        base_url: str,
        key: str | None,
        api: Literal["chat", "responses"] = "chat",
        stream: bool = False,
        timeout: float = 600.0,
        limit_field: str = "max_completion_tokens",
        extra: Mapping[str, Any] | None = None,
        answer_mb: float = 16.0,
    ) -> None:
        """Create a backend.

        Args:
            model: The name of the model at the endpoint.
            base_url: The URL that the paths of the protocol are appended to.
            key: The environment variable that holds the key; None if the endpoint needs none.
            api: The form of the protocol.
            stream: Whether answers are streamed.
            timeout: The maximum seconds of one attempt.
            limit_field: The field of chat completions that limits the tokens of an answer.
            extra: Further fields of every request.
            answer_mb: The maximum size of a reply in MiB.

        Raises:
            ValueError: The URL contains a key.
        """
        if "@" in base_url:
            raise ValueError("base_url: must not contain a key; `key` names the variable that holds it")
        self._model = model
        self._base = base_url.rstrip("/")
        self._key = key
        self._protocol: Protocol = Chat(limit_field) if api == "chat" else Responses()
        self._stream = stream
        self._timeout = timeout
        self._extra = dict(extra or {})
        self._max_bytes = int(answer_mb * (1 << 20))
        self._session: aiohttp.ClientSession | None = None

    @property
    def model(self) -> str:
        return self._model

    async def start(self) -> None:
        """Check that the endpoint answers and that its list of models, if it has one, contains the model."""
        where = f"{self._base}/models"
        try:
            async with asyncio.timeout(_CONNECT_SECONDS), self._http().get(where) as response:
                status, body = response.status, await self._whole(response)
        except (aiohttp.ClientError, OSError, ValueError) as error:  # TimeoutError is an OSError.
            reason = str(error) or f"no answer within {_CONNECT_SECONDS:g} s"
            raise UserError(f"no model at {self._base} (llm.backend.base_url): {reason}") from error
        if status in (401, 403):
            raise UserError(str(refusal(status, {}, body, where=where, key=self._key)))
        held = _listed(body) if status == 200 else []
        if held and self._model not in held:
            near = difflib.get_close_matches(self._model, held, 3, 0.3) or held[:_LISTED]
            raise UserError(f"{self._base} has no model {self._model}; it has: {', '.join(near)}")

    async def generate(self, request: Request) -> Completion:
        where = self._base + self._protocol.path
        body = self._protocol.encode(request, self._model)
        if self._stream:
            body["stream"] = True
            if isinstance(self._protocol, Chat):
                body["stream_options"] = {"include_usage": True}
        try:
            async with asyncio.timeout(self._timeout), self._http().post(where, json=body | self._extra) as response:
                if response.status != 200:
                    raise self._refusal(response, where, await self._whole(response))
                return self._protocol.decode(await self._answer(response, where), request)
        except TimeoutError as error:
            raise TransientError(f"{where}: no answer within {self._timeout:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise TransientError(f"{where}: {error or type(error).__name__}") from error
        except NoAnswerError as error:
            raise TransientError(f"{where}: a reply without an answer: {error}") from error
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise TransientError(f"{where}: a malformed reply: {place}: {first['msg']}") from error
        except ValueError as error:
            raise TransientError(f"{where}: a reply that cannot be read: {error}") from error

    async def _answer(self, response: aiohttp.ClientResponse, where: str) -> Mapping[str, Any]:
        """Return the body of the reply. A streamed one is assembled. Raises ValueError if it is not a JSON object."""
        if "event-stream" in response.headers.get("Content-Type", ""):
            stream = self._protocol.stream()
            async for event in events(self._limited(response)):
                if event.get("error"):
                    raise self._refusal(response, where, json.dumps(event).encode())
                stream.add(event)
            return stream.body()
        raw = await self._whole(response)
        found = json.loads(raw)
        if not isinstance(found, dict):
            raise ValueError(f"a {type(found).__name__}")
        if found.get("error"):
            raise self._refusal(response, where, raw)
        return found

    def _refusal(self, response: aiohttp.ClientResponse, where: str, body: bytes) -> ModelError:
        return refusal(response.status, response.headers, body, where=where, key=self._key)

    async def _whole(self, response: aiohttp.ClientResponse) -> bytes:
        return b"".join([chunk async for chunk in self._limited(response)])

    async def _limited(self, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        """Yield the body in chunks. Raises ValueError if it is too long."""
        size = 0
        async for chunk in response.content.iter_chunked(_CHUNK):
            size += len(chunk)
            if size > self._max_bytes:
                response.close()
                raise ValueError(f"it has more than {self._max_bytes >> 20} MB (llm.backend.answer_mb)")
            yield chunk

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                headers=self.headers(),
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
                proxy=self.proxy(),
            )
        return self._session

    def headers(self) -> dict[str, str]:
        """Return the headers of every request. Raises UserError if the key is missing."""
        if self._key is None:
            return {}
        secret = os.environ.get(self._key, "").strip()
        if not secret:
            raise UserError(
                f"no key for {self._base}: set {self._key} where Ray runs, or llm.backend.key=null if it needs none"
            )
        return {"Authorization": f"Bearer {secret}"}

    def proxy(self) -> str | None:
        """Return the proxy that the environment names for the endpoint. It is looked up once per session."""
        parts = urlsplit(self._base)
        return None if proxy_bypass(parts.netloc) else getproxies().get(parts.scheme)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None


def _listed(body: bytes) -> list[str]:
    """Return the names in an endpoint's list of models, or nothing if the body is not such a list."""
    try:
        return [str(one["id"]) for one in json.loads(body)["data"]]
    except (ValueError, KeyError, TypeError):
        return []
