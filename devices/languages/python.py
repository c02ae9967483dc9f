"""Kernels in Python: torch, and whatever compiles for itself."""

from __future__ import annotations

from devices.languages.base import Language


class Python(Language):
    """A file that embeds nothing that has to be compiled beforehand."""

    name = "python"
    embeds_cpp = True
    has_launch_options = True

    def detects(self, source: str) -> bool:
        del source
        return True

    def lint(self, source: str) -> str:
        try:
            compile(source, "kernel.py", "exec", dont_inherit=True)
        except (SyntaxError, ValueError) as error:
            return f"the kernel file is no valid Python: {error}"
        return ""
