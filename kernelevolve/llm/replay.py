"""A recording in a model's place: no network, no key, and the costs of then."""

from __future__ import annotations

from pathlib import Path

from kernelevolve.core.errors import UserError
from kernelevolve.llm.base import ModelBackend
from kernelevolve.llm.messages import Completion, Request
from kernelevolve.llm.recording import FILE, Recording
from kernelevolve.llm.settings import LlmSettings


class ReplayBackend(ModelBackend):
    """Answers what a recorded run was answered to the same request."""

    def __init__(self, model: str, recording: str) -> None:
        """`recording`: the folder of a run, or the file in it."""
        self._model = model
        self._path = _file(recording)
        self._opened: Recording | None = None

    @property
    def model(self) -> str:
        return self._model

    async def start(self) -> None:
        held = self._recording().models()
        if self._model not in held:
            known = ", ".join(held) or "nobody"
            raise UserError(f"{self._path} holds no exchange with {self._model}, but with {known}")

    async def generate(self, request: Request) -> Completion:
        return self._recording().find(self._model, request)[0]

    def _recording(self) -> Recording:
        if self._opened is None:
            self._opened = Recording(self._path, write=False)
        return self._opened

    async def close(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None


def replayed_folder(settings: LlmSettings) -> Path | None:
    """The folder of the run that is replayed; None where a model is asked that is none of that run's."""
    backends = [model.backend or settings.backend for model in settings.models]
    if not all(backend.resolve("llm.backend") is ReplayBackend for backend in backends):
        return None
    folders = {_file(str(backend.arguments["recording"])).parent for backend in backends}
    return folders.pop() if len(folders) == 1 else None


def _file(recording: str) -> Path:
    path = Path(recording)
    return path / FILE if path.is_dir() else path
