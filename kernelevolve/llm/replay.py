"""A recording in place of a model: no network and no key, and the recorded costs."""

from __future__ import annotations

from pathlib import Path

from kernelevolve.core.errors import UserError
from kernelevolve.llm.base import ModelBackend
from kernelevolve.llm.messages import Completion, Request
from kernelevolve.llm.recording import FILE, Recording
from kernelevolve.llm.settings import LlmSettings


class ReplayBackend(ModelBackend):
    """Answers requests as a recorded run was answered."""

    def __init__(self, model: str, recording: str) -> None:
        """Create a backend. `recording` is the folder of a run, or the file in it."""
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
    """Return the folder of the run that is replayed, or None if not all models are replayed from one run."""
    backends = [model.backend or settings.backend for model in settings.models]
    if not all(backend.resolve("llm.backend") is ReplayBackend for backend in backends):
        return None
    folders = {_file(str(backend.arguments["recording"])).parent for backend in backends}
    return folders.pop() if len(folders) == 1 else None


def _file(recording: str) -> Path:
    path = Path(recording)
    return path / FILE if path.is_dir() else path
