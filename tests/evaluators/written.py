"""References and kernels of a few lines."""

from __future__ import annotations

from typing import NamedTuple


class Written(NamedTuple):
    """A reference: bodies of its functions, a line or some."""

    forward: str
    inputs: str = "return [torch.randn(40, 48)]"
    init: str = "pass"
    takes: str = "x"

    def source(self, model: str) -> str:
        def body(lines: str, indent: int) -> str:
            return "\n".join(" " * indent + line for line in lines.splitlines())

        return f"""import torch
from torch import nn
from torch.nn import functional as F

class {model}(nn.Module):
    def __init__(self):
        super().__init__()
{body(self.init, 8)}
    def forward(self, {self.takes}):
{body(self.forward, 8)}

def get_inputs():
{body(self.inputs, 4)}
"""

    def kernel(self, forward: str, init: str | None = None) -> str:
        """Another forward of the same model; or of one that is made in another way."""
        return self._replace(forward=forward, init=self.init if init is None else init).source("ModelNew")
