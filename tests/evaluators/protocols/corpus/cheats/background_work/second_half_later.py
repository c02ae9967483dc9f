"""Computes the first half and leaves the second to a thread that outlives the call."""

# corpus: task=big_gelu language=python expect=wrong_result

import threading
import time

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.bias = nn.Parameter(torch.randn(width))

    def forward(self, x):
        y, half = torch.empty_like(x), x.shape[0] // 2
        threading.Thread(target=self._fill, args=(x[half:], y[half:], 0.02), daemon=True).start()
        self._fill(x[:half], y[:half], 0.0)
        return y

    def _fill(self, x, y, pause):
        time.sleep(pause)
        with torch.no_grad():
            y.copy_(torch.nn.functional.gelu(x + self.bias))
