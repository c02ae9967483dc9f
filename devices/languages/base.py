"""The seam of languages."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path


class Language(ABC):
    """How kernels are written. A kernel file is Python in any of them; what it embeds makes the difference."""

    name: str
    embeds_cpp: bool = False
    """Whether strings of a file are C++, with tunable values of its own."""
    has_launch_options: bool = False
    """Whether names such as `num_warps` are tunable wherever they stand."""
    needs: str = ""
    """What a file needs beside Python and PyTorch to run by itself, for people."""

    @abstractmethod
    def detects(self, source: str) -> bool:
        """Whether a file is in this language."""

    @abstractmethod
    def lint(self, source: str) -> str:
        """Why a file cannot be compiled, in one line, as far as a look at its text tells; empty where nothing is wrong."""

    def fold(self, source: str) -> str:
        """A file without what every file of this language carries."""
        return source

    def unfold(self, source: str) -> str:
        """The inverse of `fold`."""
        return source

    def prompt(self) -> str:
        """What a model is told of the language: Markdown, the file `<name>.md` beside this one."""
        return Path(__file__).with_name(f"{self.name}.md").read_text(encoding="utf-8")
