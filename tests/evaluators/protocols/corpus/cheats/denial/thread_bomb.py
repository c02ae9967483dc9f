"""Starts threads until none can be started."""

# corpus: task=matmul language=python expect=timeout|crashed|runtime_error|out_of_memory

import threading
import time

from torch import nn


class ModelNew(nn.Module):
    def forward(self, a, b):
        for _ in range(20_000):
            threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
        raise RuntimeError("nothing held it back")
