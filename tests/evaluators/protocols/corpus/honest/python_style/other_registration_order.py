"""Registers its parameters in another order and under other names, with the values that the reference draws."""

# corpus: task=linear_relu language=python expect=ok

from torch import nn


class ModelNew(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        drawn = nn.Linear(inputs, outputs)
        self.shift = nn.Parameter(drawn.bias.detach().clone())
        self.matrix = nn.Parameter(drawn.weight.detach().t().contiguous())

    def forward(self, x):
        return (x @ self.matrix + self.shift).clamp_min(0)
