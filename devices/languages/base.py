"""The interface of languages."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path


class Language(ABC):
    """A language of kernels. A kernel file is always Python; languages differ in what the file embeds."""

    name: str
    """The name of the language."""
    embeds_cpp: bool = False
    """Whether strings in a file may be C++ code with tunable values of its own."""
    has_launch_options: bool = False
    """Whether names such as `num_warps` are tunable wherever they occur."""
    needs: str = ""
    """A text that says what a file needs besides Python and PyTorch to run by itself."""

    @abstractmethod
    def detects(self, source: str) -> bool:
        """Return whether a file is in this language."""

    @abstractmethod
    def lint(self, source: str) -> str:
        """Return in one line why a file cannot be compiled, as far as its text shows, or an empty text."""

    def fold(self, source: str) -> str:
        """Return a file without the boilerplate that every file of this language contains."""
        return source

    def unfold(self, source: str) -> str:
        """Return a file with its boilerplate, the inverse of `fold`."""
        return source

    def prompt(self) -> str:
        """Return the description of the language for models: the Markdown file `<name>.md` beside this module."""
        return Path(__file__).with_name(f"{self.name}.md").read_text(encoding="utf-8")
