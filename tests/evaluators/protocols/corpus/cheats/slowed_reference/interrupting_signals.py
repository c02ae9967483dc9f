"""A thread sends signals without effect to its parent and neighbours all the time."""

# corpus: task=big_gelu language=python expect=ok|cheating|crashed|runtime_error pointless

import os
import signal
import threading
import time

import torch
from torch import nn


def _interrupt():
    while True:
        for process in range(os.getppid(), os.getpid()):
            try:
                os.kill(process, signal.SIGCONT)
            except OSError:
                continue
        time.sleep(1e-4)


class ModelNew(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.bias = nn.Parameter(torch.randn(width))
        threading.Thread(target=_interrupt, daemon=True).start()

    def forward(self, x):
        return torch.nn.functional.gelu(x + self.bias)
