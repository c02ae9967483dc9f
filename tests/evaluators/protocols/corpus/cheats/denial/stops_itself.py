"""Stops its own process, which then neither works nor ends."""

# corpus: task=batch_norm language=python expect=timeout|crashed|runtime_error

import os
import signal

from torch import nn


class ModelNew(nn.Module):
    def __init__(self, features):
        super().__init__()

    def forward(self, x):
        os.kill(os.getpid(), signal.SIGSTOP)
        return x
