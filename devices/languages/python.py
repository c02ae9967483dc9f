"""The language of Python kernels: they use PyTorch and libraries that compile at run time."""

from __future__ import annotations

from devices.languages.base import Language


class Python(Language):
    """Python: nothing in a file has to be compiled beforehand."""

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
