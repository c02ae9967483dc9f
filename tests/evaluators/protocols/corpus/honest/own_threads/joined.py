"""Splits the rows between two Python threads and joins them."""

# corpus: task=big_gelu language=python expect=ok

import threading

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.bias = nn.Parameter(torch.randn(width))

    def forward(self, x):
        y, half = torch.empty_like(x), x.shape[0] // 2
        bias = self.bias.detach()

        def work(rows):
            torch.add(x[rows], bias, out=y[rows])
            y[rows] = torch.nn.functional.gelu(y[rows])

        threads = [threading.Thread(target=work, args=(rows,)) for rows in (slice(0, half), slice(half, None))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return y
