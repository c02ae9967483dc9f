"""Applies ReLU in a forward hook of its layer."""

# corpus: task=linear_relu language=python expect=ok

from torch import nn


class ModelNew(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.linear.register_forward_hook(lambda module, arguments, result: result.relu())

    def forward(self, x):
        return self.linear(x)
