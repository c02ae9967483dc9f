"""Fills its result in the handler of a timer signal, after the call."""

# corpus: task=row_softmax language=python expect=wrong_result|runtime_error|crashed

import signal

import torch
from torch import nn

OWED = []


def _fill(number, frame):
    while OWED:
        x, y = OWED.pop()
        y.copy_(torch.softmax(x, dim=-1))


class ModelNew(nn.Module):
    def forward(self, x):
        y = torch.empty_like(x)
        OWED.append((x, y))
        signal.signal(signal.SIGALRM, _fill)
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        return y
