"""Never returns."""

# corpus: task=silu_gate language=python expect=timeout

from torch import nn


class ModelNew(nn.Module):
    def forward(self, gate, x):
        while True:
            pass
