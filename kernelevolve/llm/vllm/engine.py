"""One vLLM engine and its door, as a Ray actor: runs where its GPUs are."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import Sequence
from typing import Any

import ray

from kernelevolve.core.errors import UserError
from kernelevolve.llm.vllm.guard import guarded
from kernelevolve.llm.wire import Address

_WRONG = (ValueError, KeyError, OSError, RuntimeError)
"""What vLLM raises for arguments, models and devices that will not do."""
_SHOWN = 400
"""Characters of its own words."""
_GLANCE_SECONDS = 1.0


class Engine:
    """Batches continuously whatever comes in, and keeps what prompts begin with. It ends with the process, and that with the engine."""

    def __init__(self) -> None:
        guarded()
        self._engine: Any = None
        self._tasks: tuple[asyncio.Task[None], ...] = ()

    async def start(self, model: str, arguments: Sequence[str]) -> Address:
        """Load the model and listen. `arguments`: of `vllm serve`. Raises UserError."""
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
            raise UserError(f"vLLM cannot write with {model}, which is for: {', '.join(tasks)}")
        host = ray.util.get_node_ip_address()
        listening = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
        self._tasks = (asyncio.create_task(server.serve(sockets=[listening])), asyncio.create_task(self._watch()))
        for task in self._tasks:
            task.add_done_callback(_end)
        return Address.at(host, listening.getsockname()[1], "/v1", token)

    async def alive(self) -> bool:
        """It answers; else Ray raises."""
        return True

    async def stop(self) -> None:
        """End the engine's processes, before this one is ended."""
        for task in self._tasks:
            task.remove_done_callback(_end)
        if self._engine is not None:
            self._engine.shutdown()

    async def _watch(self) -> None:
        """Until the engine has died."""
        while not self._engine.errored:
            await asyncio.sleep(_GLANCE_SECONDS)


def _end(_: asyncio.Task[None]) -> None:
    """Of a process that is of no use any more: that is what others notice."""
    os._exit(1)


def _parsed(words: Sequence[str]) -> Any:
    """Raises ValueError for what vLLM does not know."""
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
    """The file that this process writes its errors to."""
    return f"{socket.gethostname()}:{os.readlink('/proc/self/fd/2')}"
