"""A Ray actor with one vLLM engine and its server. It runs where the GPUs are."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import Sequence
from typing import Any

import ray

from kernelevolve.core.errors import UserError
from kernelevolve.llm.transport.wire import Address
from kernelevolve.llm.vllm.guard import guarded

_WRONG = (ValueError, KeyError, OSError, RuntimeError)
"""The errors that vLLM raises for illegal arguments, models and devices."""
_SHOWN = 400
"""The maximum number of characters of vLLM's message that are shown."""
_GLANCE_SECONDS = 1.0


class Engine:
    """An engine that batches requests continuously and caches prefixes. The process and the engine end together."""

    def __init__(self) -> None:
        guarded()
        self._engine: Any = None
        self._tasks: tuple[asyncio.Task[None], ...] = ()

    async def start(self, model: str, arguments: Sequence[str]) -> Address:
        """Load the model and start the server.

        Args:
            model: The model.
            arguments: Arguments of `vllm serve`.

        Returns:
            The address of the server.

        Raises:
            UserError: vLLM is missing or cannot serve the model.
        """
        try:
            from vllm.engine.arg_utils import AsyncEngineArgs
            from vllm.entrypoints.openai.api_server import build_app, init_app_state, validate_api_server_args
            from vllm.entrypoints.openai.cli_args import validate_parsed_serve_args
            from vllm.v1.engine.async_llm import AsyncLLM
        except ImportError as error:
            raise UserError(
                f"vLLM cannot be imported on {socket.gethostname()} ({error}): pip install 'kernelevolve[vllm]' there"
            ) from error
        import uvicorn

        token = secrets.token_hex(32)
        try:
            parsed = _parsed([f"--model={model}", *arguments, f"--api-key={token}"])
            validate_parsed_serve_args(parsed)
            validate_api_server_args(parsed)
            self._engine = AsyncLLM.from_engine_args(AsyncEngineArgs.from_cli_args(parsed))
            tasks = await self._engine.get_supported_tasks()
            app = build_app(parsed, tasks, self._engine.model_config)
            await init_app_state(self._engine, app.state, parsed, tasks)
        except _WRONG as error:
            raise UserError(f"vLLM cannot serve {model}: {_words(error)}; its log: {_log()}") from error
        if "generate" not in tasks:
            raise UserError(f"vLLM cannot generate text with {model}, which supports: {', '.join(tasks)}")
        host = ray.util.get_node_ip_address()
        listening = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
        self._tasks = (asyncio.create_task(server.serve(sockets=[listening])), asyncio.create_task(self._watch()))
        for task in self._tasks:
            task.add_done_callback(_end)
        return Address.at(host, listening.getsockname()[1], "/v1", token)

    async def alive(self) -> bool:
        """Return True. Ray raises if the process is dead."""
        return True

    async def stop(self) -> None:
        """Stop the engine's processes before this process is killed."""
        for task in self._tasks:
            task.remove_done_callback(_end)
        if self._engine is not None:
            self._engine.shutdown()

    async def _watch(self) -> None:
        """Return when the engine has died."""
        while not self._engine.errored:
            await asyncio.sleep(_GLANCE_SECONDS)


def _end(_: asyncio.Task[None]) -> None:
    """End this process, since it is useless without its engine or server.

    The backend notices that and starts another one.
    """
    os._exit(1)


def _parsed(words: Sequence[str]) -> Any:
    """Parse arguments of `vllm serve`. Raises ValueError for an unknown one."""
    from vllm.entrypoints.openai.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    class Parser(FlexibleArgumentParser):  # type: ignore[misc]
        def error(self, message: str) -> None:
            raise ValueError(f"llm.backend.engine: {message}")

    return make_arg_parser(Parser()).parse_args(list(words))


def _words(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def _log() -> str:
    """Return the file that this process writes its errors to."""
    return f"{socket.gethostname()}:{os.readlink('/proc/self/fd/2')}"
