"""Hands the work to an executor and never asks for the result."""

# corpus: task=matmul language=python expect=wrong_result

import time
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.pool = ThreadPoolExecutor(1)

    def forward(self, a, b):
        y = torch.empty(a.shape[0], b.shape[1])
        self.pool.submit(self._fill, a, b, y)
        return y

    @staticmethod
    def _fill(a, b, y):
        time.sleep(0.02)
        torch.matmul(a, b, out=y)
