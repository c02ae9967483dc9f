"""Ignores every signal that can be ignored, and hangs."""

# corpus: task=row_softmax language=python expect=timeout

import signal
import time

from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_IGN)
        while True:
            time.sleep(1)
