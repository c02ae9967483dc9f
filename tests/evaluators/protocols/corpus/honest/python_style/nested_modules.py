"""Nests modules, with a class that inherits from two."""

# corpus: task=linear_relu language=python expect=ok

from torch import nn


class Named:
    def extra_repr(self):
        return "named"


class Layer(Named, nn.Linear):
    pass


class ModelNew(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.steps = nn.Sequential(Layer(inputs, outputs), nn.Sequential(nn.ReLU(inplace=True)))

    def forward(self, x):
        return self.steps(x)
