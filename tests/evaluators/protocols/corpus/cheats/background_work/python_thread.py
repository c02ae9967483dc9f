"""Returns at once; a thread fills the result a little later."""

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
        y = torch.empty_like(x)
        threading.Thread(target=self._fill, args=(x, y), daemon=True).start()
        return y

    def _fill(self, x, y):
        time.sleep(0.02)
        with torch.no_grad():
            y.copy_(torch.nn.functional.gelu(x + self.bias))
