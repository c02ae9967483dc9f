"""Opens files until no descriptor is left."""

# corpus: task=linear_relu language=python expect=runtime_error|crashed

import os

from torch import nn


class ModelNew(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()

    def forward(self, x):
        while True:
            os.open("/dev/null", os.O_RDONLY)
